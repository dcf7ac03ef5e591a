"""The fit in closed form: which painted pixels it learns from, what it is, and what it is held back by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from napari_dsparse.classifier import NETWORKS, NetworkSpec
from napari_dsparse.classifier.warm_start import Opinion, warm_start
from napari_dsparse.model import train
from napari_dsparse.training import find_strokes
from napari_dsparse.training.choice import MOST_PIXELS, PIXELS_PER_SQUARE, SQUARE, choose_pixels
from napari_dsparse.training.contrast import CONTRASTS, contrasts
from napari_dsparse.training.head import (
    LEAST_SHARE,
    MOST_AXES,
    Head,
    Rows,
    Unpainted,
    balanced,
    self_training_weight,
)
from napari_dsparse.training.opinions import form_opinions, left_out_error
from napari_dsparse.training.priors import class_priors

labels_2d = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 50), st.integers(1, 50)), elements=st.integers(0, 3)
).filter(lambda labels: labels.any())


# -- which pixels -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(labels_2d)
def test_chosen_pixels_are_painted_ones_each_class_weighing_the_same(labels):
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    assert_array_equal(labels[tuple(chosen.yx.T)], chosen.labels)
    assert_array_equal([strokes[i].label for i in chosen.strokes], chosen.labels)
    assert len(np.unique(chosen.yx, axis=0)) == len(chosen.yx)
    painted = np.unique(labels[labels > 0])
    by_class = [chosen.weights[chosen.labels == k].sum() for k in painted]
    assert_allclose(by_class, 1 / len(painted))
    squares = {int(k): len(np.unique(np.argwhere(labels == k) // SQUARE, axis=0)) for k in painted}
    assert chosen.squares == squares
    assert chosen.evidence == pytest.approx(len(squares) / sum(1 / n for n in squares.values()))
    for k in painted:
        own = chosen.yx[chosen.labels == k] // SQUARE
        _, counts = np.unique(own, axis=0, return_counts=True)
        assert counts.max() <= PIXELS_PER_SQUARE
        assert len(counts) == squares[int(k)]  # nothing that was painted goes unheard


@settings(max_examples=30, deadline=None)
@given(labels_2d, st.randoms(use_true_random=False))
def test_the_choice_depends_on_the_paint_and_not_on_the_order_of_strokes(labels, random):
    strokes = list(find_strokes(labels))
    one = choose_pixels(strokes)
    random.shuffle(strokes)
    other = choose_pixels(strokes)
    assert_array_equal(one.yx, other.yx)
    assert_array_equal(one.labels, other.labels)
    assert_allclose(one.weights, other.weights, rtol=1e-12)


def test_a_filled_image_costs_no_more_than_the_most_pixels():
    labels = np.ones((900, 1000), np.uint8)
    labels[:, 500:] = 2
    labels[3:6, 3:9] = 3
    chosen = choose_pixels(find_strokes(labels))
    counts = np.bincount(chosen.labels)[1:]
    assert MOST_PIXELS // 2 < len(chosen.labels) <= MOST_PIXELS
    assert counts[2] == PIXELS_PER_SQUARE  # a small class keeps all that it may have
    assert 0.8 < counts[0] / counts[1] < 1.25
    halves = chosen.yx[chosen.labels == 1] // [450, 250]
    _, spread = np.unique(halves, axis=0, return_counts=True)
    assert spread.min() > 0.8 * spread.mean()


def test_pixels_of_a_square_look_random_and_a_square_weighs_as_the_root_of_its_paint():
    labels = np.zeros((64, 64), np.uint8)
    labels[:16, :16], labels[32:36, :16], labels[40, 40] = 1, 1, 2
    chosen = choose_pixels(find_strokes(labels))
    full = (chosen.yx[:, 0] < 16) & (chosen.labels == 1)
    assert np.ptp(chosen.yx[full], axis=0).min() > 8
    thin = ~full & (chosen.labels == 1)
    assert chosen.weights[full].sum() / chosen.weights[thin].sum() == pytest.approx(np.sqrt(256 / 64))


# -- the last layer ---------------------------------------------------------------------------------------


def random_rows(seed=0, rows=60, sizes=(5, 3), classes=3):
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    groups = tuple(
        torch.from_numpy(rng.normal(0, scale, (rows, size)) + targets[:, None]).float()
        for scale, size in zip((1, 3), sizes, strict=True)
    )
    return Rows(groups, torch.from_numpy(targets), torch.from_numpy(rng.uniform(0.1, 2, rows)))


def one(penalties):
    return [Opinion(1.0, penalties)]


def least_squares(rows, penalties, where=slice(None)):
    """The same by rows more, one for every feature, which pull its weight to 0."""
    x = torch.cat([g.double() for g in rows.groups], 1).numpy()
    share = balanced(rows.targets, rows.weights).numpy()
    first = rows.groups[0].double().numpy()
    unit = (share @ (first - share @ first) ** 2).mean()
    targets, given_weights = rows.targets[where], rows.weights[where]
    classes = np.eye(int(rows.targets.max()) + 1)[targets.numpy()]
    x, share = x[where], balanced(targets, given_weights).numpy()
    mean, middle = share @ x, share @ classes
    pull = np.repeat([p * unit for p in penalties], [g.shape[1] for g in rows.groups])
    tall = np.vstack([np.sqrt(share)[:, None] * (x - mean), np.diag(np.sqrt(pull))])
    wanted = np.vstack([np.sqrt(share)[:, None] * (classes - middle), np.zeros((len(pull), len(middle)))])
    weight = np.linalg.lstsq(tall, wanted, rcond=None)[0].T
    return weight, middle - weight @ mean


@pytest.mark.parametrize("rows", [60, 6], ids=["more rows than features", "fewer"])
def test_the_last_layer_is_the_class_balanced_ridge_classifier_with_a_penalty_by_group(rows):
    given_rows, penalties = random_rows(rows=rows), (0.3, 0.02)
    weight, bias = Head(given_rows).fit(one(penalties))
    wanted, offset = least_squares(given_rows, penalties)
    assert_allclose(weight.numpy(), wanted, atol=1e-9)
    assert_allclose(bias.numpy(), offset, atol=1e-9)
    other, _ = Head(given_rows).fit(one((0.02, 0.3)))
    assert not np.allclose(weight.numpy(), other.numpy(), atol=1e-3)


def test_opinions_are_averaged_and_infinity_leaves_a_group_out():
    given_rows = random_rows()
    both, alone = (0.3, 0.02), (0.1, np.inf)
    head = Head(given_rows)
    weight, bias = head.fit([Opinion(0.25, both), Opinion(0.75, alone)])
    first = Rows(given_rows.groups[:1], given_rows.targets, given_rows.weights)
    wide, wide_offset = least_squares(given_rows, both)
    narrow, narrow_offset = least_squares(first, alone[:1])
    narrow = np.pad(narrow, ((0, 0), (0, wide.shape[1] - narrow.shape[1])))
    assert_allclose(weight.numpy(), 0.25 * wide + 0.75 * narrow, atol=1e-9)
    assert_allclose(bias.numpy(), 0.25 * wide_offset + 0.75 * narrow_offset, atol=1e-9)


def test_pixels_left_out_are_judged_by_the_fit_to_all_others():
    given_rows, penalties = random_rows(), (0.3, 0.02)
    head = Head(given_rows)
    held = torch.tensor([4, 17, 58])
    rest = np.setdiff1d(np.arange(60), held.numpy())
    weight, bias = least_squares(given_rows, penalties, rest)
    x = torch.cat([g.double() for g in given_rows.groups], 1).numpy()[held.numpy()]
    assert_allclose(head.left_out(held, one(penalties)).numpy(), x @ weight.T + bias, atol=1e-9)


def test_of_a_pixel_left_out_no_view_is_learned_from():
    given_rows = random_rows(rows=40)
    views = tuple(torch.stack([g, g + 0.1]) for g in given_rows.groups)
    held, penalties = torch.tensor([3, 8]), (0.3, 0.02)
    found = Head(replace(given_rows, groups=views)).left_out(held, one(penalties))
    twice = every_view_by_itself(replace(given_rows, groups=views), 2)
    rest = torch.ones(80, dtype=torch.bool)
    rest[[3, 8, 43, 48]] = False
    weight, bias = least_squares(twice, penalties, rest.nonzero()[:, 0].numpy())
    x = torch.cat([g.double() for g in twice.groups], 1).numpy()[held.numpy()]
    assert_allclose(found.numpy(), x @ weight.T + bias, atol=1e-9)


def every_view_by_itself(rows, views):
    """The same with a pixel of its own for every view, all pixels of one view after another."""
    groups = [g.expand(views, *g.shape[-2:]).flatten(0, 1) for g in rows.groups]
    return Rows(tuple(groups), rows.targets.repeat(views), rows.weights.repeat(views) / views)


@settings(max_examples=25, deadline=None)
@given(
    views=st.sampled_from([1, 2, 4, 8]),
    differ=st.lists(st.booleans(), min_size=1, max_size=4),
    sizes=st.lists(st.sampled_from([1, 3, 7, MOST_AXES + 5]), min_size=4, max_size=4),
    classes=st.integers(2, 4),
    leave_out=st.sampled_from(["some", "a class", "nothing"]),
    alone=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_what_is_the_same_in_every_view_counts_as_if_it_were_repeated(
    views, differ, sizes, classes, leave_out, alone, seed
):
    rng = np.random.default_rng(seed)
    pixels = int(rng.integers(150, 200))
    targets = np.concatenate([np.arange(classes), rng.integers(0, classes, pixels - classes)])
    groups = tuple(
        torch.from_numpy(rng.normal(targets[:, None], 2, (views if own else 1, pixels, size))).float()
        for own, size in zip(differ, sizes, strict=False)
    )
    groups = tuple(g if own else g[0] for own, g in zip(differ, groups, strict=True))
    rows = Rows(groups, torch.from_numpy(targets), torch.from_numpy(rng.uniform(0.1, 2, pixels)))
    penalties = tuple(rng.uniform(0.05, 2, len(groups)))
    opinions = [Opinion(0.6, penalties), Opinion(0.4, (0.3, *[np.inf if alone else 0.1] * len(groups[1:])))]
    unpainted = random_unpainted(rows, 0.7)
    short, plain = Head(rows), Head(every_view_by_itself(rows, views))
    for other in (None, unpainted):
        for found, wanted in zip(short.fit(opinions, other), plain.fit(opinions, other), strict=True):
            assert_close_as_a_whole(found, wanted)
    held = {
        "some": torch.from_numpy(rng.permutation(np.arange(classes, pixels))[:30]),
        "a class": (rows.targets == 1).nonzero()[:, 0],
        "nothing": torch.empty(0, dtype=torch.int64),
    }[leave_out]
    everywhere = (held + pixels * torch.arange(views)[:, None]).flatten()
    elsewhere = unpainted.features.double()
    scores, others = short.without(held, opinions, elsewhere, unpainted)
    wanted_scores, wanted_others = plain.without(everywhere, opinions, elsewhere, unpainted)
    assert_close_as_a_whole(scores, wanted_scores[: len(held)])
    assert_close_as_a_whole(others, wanted_others)


def assert_close_as_a_whole(found, wanted):
    """To 1e-9 of the largest value; infinities at the same places."""
    finite = wanted[wanted.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    assert_allclose(found.numpy(), wanted.numpy(), rtol=0, atol=largest * 1e-9)


def test_a_class_with_nothing_left_is_not_found():
    given_rows = random_rows()
    held = (given_rows.targets == 1).nonzero()[:, 0]
    scores = Head(given_rows).left_out(held, one((0.3, 0.02)))
    assert torch.isneginf(scores[:, 1]).all()
    assert torch.isfinite(scores[:, [0, 2]]).all()


def test_axes_that_are_left_out_say_next_to_nothing():
    """Features as networks have them: their variance falls quickly from axis to axis."""
    rng = np.random.default_rng(0)
    size, rows = MOST_AXES + 60, 400
    targets = torch.from_numpy(rng.integers(0, 2, rows))
    turned, _ = np.linalg.qr(rng.normal(size=(size, size)))
    values = rng.normal(size=(rows, size)) * 0.95 ** np.arange(size)
    values[:, 0] += targets.numpy()
    group = torch.from_numpy(values @ turned).float()
    given_rows = Rows((group,), targets, torch.ones(rows, dtype=torch.float64))
    weight, bias = Head(given_rows).fit(one((1.0,)))
    wanted, offset = least_squares(given_rows, (1.0,))
    scores = group.double().numpy() @ np.stack([weight[0].numpy(), wanted[0]], 1)
    scores += [float(bias[0]), offset[0]]
    assert weight.shape == wanted.shape
    assert_allclose(scores[:, 0], scores[:, 1], atol=0.01 * np.ptp(scores[:, 1]))


# -- what nobody painted ---------------------------------------------------------------------------------


def random_unpainted(rows, weight, seed=1):
    size = sum(group.shape[-1] for group in rows.groups)
    features = np.random.default_rng(seed).normal(0.5, 2, (40, size))
    return Unpainted(torch.from_numpy(features).float(), 2.0, weight)


def taught(rows, penalties, unpainted, where=slice(None)):
    """Least squares once more, with the first one's guesses at unpainted pixels as further rows."""
    weight, offset = least_squares(rows, penalties, where)
    others = unpainted.features.double().numpy()
    logits = torch.from_numpy((others @ weight.T + offset) * unpainted.scale)
    guessed = (logits + class_priors(logits).log()).softmax(1).numpy()
    counts = (guessed / guessed.mean(0).clip(LEAST_SHARE)).sum(1)
    x = torch.cat([g.double() for g in rows.groups], 1).numpy()
    share = balanced(rows.targets, rows.weights).numpy()
    first = rows.groups[0].double().numpy()
    unit = (share @ (first - share @ first) ** 2).mean()
    x = np.vstack([x[where], others])
    classes = np.vstack([np.eye(guessed.shape[1])[rows.targets[where].numpy()], guessed])
    own = balanced(rows.targets[where], rows.weights[where]).numpy()
    share = np.concatenate([own, counts * unpainted.weight / counts.sum()])
    share /= share.sum()
    mean, middle = share @ x, share @ classes
    pull = np.repeat([p * unit for p in penalties], [g.shape[1] for g in rows.groups])
    x, classes = x - mean, classes - middle
    weight = np.linalg.solve((x * share[:, None]).T @ x + np.diag(pull), (x * share[:, None]).T @ classes).T
    return weight, middle - weight @ mean


def test_unpainted_pixels_join_the_fit_with_the_classes_that_it_gives_them():
    given_rows, penalties = random_rows(), (0.3, 0.02)
    unpainted = random_unpainted(given_rows, 0.7)
    weight, bias = Head(given_rows).fit(one(penalties), unpainted)
    wanted, offset = taught(given_rows, penalties, unpainted)
    assert_allclose(weight.numpy(), wanted, atol=1e-9)
    assert_allclose(bias.numpy(), offset, atol=1e-9)
    without, _ = Head(given_rows).fit(one(penalties))
    assert not np.allclose(weight.numpy(), without.numpy(), atol=1e-3)
    head = Head(given_rows)
    others, _ = head.fit(one(penalties), random_unpainted(given_rows, 0.7, seed=2))
    assert not np.allclose(others.numpy(), weight.numpy(), atol=1e-4)
    assert torch.equal(head.fit(one(penalties), unpainted)[0], weight)
    nothing, _ = head.fit(one(penalties), random_unpainted(given_rows, 0.0))
    assert_allclose(nothing.numpy(), without.numpy(), atol=1e-12)


def test_pixels_left_out_teach_nothing_by_way_of_unpainted_ones():
    given_rows, penalties = random_rows(), (0.3, 0.02)
    unpainted, held = random_unpainted(given_rows, 0.7), torch.tensor([4, 17, 58])
    rest = np.setdiff1d(np.arange(60), held.numpy())
    weight, bias = taught(given_rows, penalties, unpainted, rest)
    found, others = Head(given_rows).without(held, one(penalties), unpainted.features, unpainted)
    x = torch.cat([g.double() for g in given_rows.groups], 1).numpy()[held.numpy()]
    assert_allclose(found.numpy(), x @ weight.T + bias, atol=1e-9)
    assert_allclose(others.numpy(), unpainted.features.double().numpy() @ weight.T + bias, atol=1e-5)


def test_a_class_with_nothing_left_is_guessed_nowhere():
    given_rows = random_rows()
    held = (given_rows.targets == 1).nonzero()[:, 0]
    unpainted = random_unpainted(given_rows, 0.7)
    scores, others = Head(given_rows).without(held, one((0.3, 0.02)), unpainted.features, unpainted)
    for found in (scores, others):
        assert torch.isneginf(found[:, 1]).all()
        assert torch.isfinite(found[:, [0, 2]]).all()


def test_unpainted_pixels_average_out_what_a_few_strokes_happen_to_differ_in():
    wrong = np.zeros((3, 2))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = torch.from_numpy(rng.integers(0, 2, 600))
        features = torch.from_numpy(rng.normal(0, 0.6, (600, 30))).float()
        features[:, 0] += 2.0 * truth - 1  # the other 29 tell nothing
        painted = torch.cat([(truth == k).nonzero()[:4, 0] for k in (0, 1)])
        head = Head(Rows((features[painted],), truth[painted], torch.ones(8, dtype=torch.float64)))
        for number, unpainted in enumerate((None, Unpainted(features, 10.0, 0.5))):
            weight, bias = head.fit(one((0.1,)), unpainted)
            found = (features.double() @ weight.t() + bias).argmax(1)
            wrong[seed, number] = float((found != truth).double().mean())
    assert (wrong[:, 1] < 0.85 * wrong[:, 0]).all()


def test_unpainted_pixels_count_for_little_at_first_and_never_for_more_than_the_paint():
    weights = [self_training_weight(evidence) for evidence in (1, 5, 50, 5000)]
    assert weights == sorted(weights)
    assert weights[0] < 0.1
    assert 0.4 < weights[-1] < 1


# -- how strongly it is held back -------------------------------------------------------------------------


def test_contrast_is_about_one_where_classes_are_alike():
    torch.manual_seed(0)
    found = []
    for _ in range(200):
        strokes = torch.arange(6).repeat_interleave(5)
        features = torch.randn(6, 8)[strokes] + 0.1 * torch.randn(30, 8)
        share = torch.full((30,), 1 / 30, dtype=torch.float64)
        found += contrasts([features], share, strokes % 2, strokes)
    assert 0.8 < np.median(found) < 1.3


def test_contrast_is_one_where_no_class_has_two_strokes_and_never_endless():
    features, share = torch.randn(2, 10, 3), torch.full((10,), 0.1, dtype=torch.float64)
    classes = torch.arange(2).repeat_interleave(5)
    assert contrasts(list(features), share, classes, classes) == (1, 1)
    alike = torch.ones(10, 3) * classes[:, None]
    assert contrasts([alike], share, classes, torch.arange(10)) == (CONTRASTS[1],)


def test_contrast_does_not_depend_on_how_strokes_are_numbered():
    torch.manual_seed(0)
    strokes = torch.arange(6).repeat_interleave(5)
    features, share = torch.randn(30, 4), torch.full((30,), 1 / 30, dtype=torch.float64)
    (one,) = contrasts([features], share, strokes % 2, strokes)
    (other,) = contrasts([features], share, strokes % 2, 100 - 7 * strokes)
    assert one == pytest.approx(other)


@pytest.mark.parametrize("name", NETWORKS)
def test_penalties_of_the_warm_starts_fall_with_what_is_known(name):
    spec = NetworkSpec(name, 3, 2)
    warm = warm_start(spec)
    groups = 1 + len(spec.windows)
    few, many = (warm.penalties(evidence, (10.0,) * groups) for evidence in (2, 200))
    assert len(few) == groups
    assert all(a > b > 0 for a, b in zip(few, many, strict=True))
    if groups > 1:
        dull, telling = (warm.penalties(20, (10.0, c, c, c)) for c in (1.0, 100.0))
        assert all(a > b for a, b in zip(dull[1:], telling[1:], strict=True))
        assert dull[0] == telling[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_opinions_count_in_full_and_the_wide_one_more_with_more_paint(name):
    warm = warm_start(NetworkSpec(name, 1, 2))
    groups = len(warm.ridge)
    few, many = (warm.opinions(evidence, (10.0,) * groups, error=0.5) for evidence in (2, 200))
    for opinions in (few, many):
        assert sum(opinion.share for opinion in opinions) == pytest.approx(1)
        assert all(np.isfinite(opinion.penalties[0]) for opinion in opinions)
    if groups == 1:
        assert len(few) == 1
        return
    assert few[0].share < 0.5 < many[0].share
    assert np.isinf(few[1].penalties[1:]).all()
    known = warm.opinions(200, (10.0,) * groups, error=0.05)
    assert all(a > b for a, b in zip(known[0].penalties[1:], many[0].penalties[1:], strict=True))
    misled = warm.opinions(200, (10.0,) * groups, error=3.0)
    assert misled == warm.opinions(200, (10.0,) * groups, error=1.0)


def painted_places(tells, seed=0, places=6):
    """Strokes far apart, alternately of two classes, with features that tell strokes or classes apart."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((100 * places, 40), np.uint8)
    for number in range(places):
        labels[100 * number : 100 * number + 4, :20] = number % 2 + 1
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    owner, targets = chosen.strokes, chosen.labels - 1
    features = rng.normal(0, 0.1, (len(targets), 8))
    features += 3 * rng.normal(size=(2, 8))[targets] if tells else 3 * rng.normal(size=(places, 8))[owner]
    around = rng.normal(size=features.shape)
    groups = tuple(torch.from_numpy(g).float() for g in (features, around, around, around))
    rows = Rows(groups, torch.from_numpy(targets), torch.from_numpy(chosen.weights))
    return strokes, chosen, rows, Head(rows)


def test_the_error_on_strokes_left_out_is_small_only_where_classes_and_not_strokes_are_told():
    alone = [Opinion(1.0, (0.1, np.inf, np.inf, np.inf))]
    telling, misleading = (
        np.mean(
            [left_out_error(s, c, h, alone, 0) for s, c, _, h in (painted_places(t, n) for n in range(5))]
        )
        for t in (True, False)
    )
    assert telling < 0.05
    assert misleading > 0.7
    strokes, chosen, _, head = painted_places(True, places=2)
    assert left_out_error(strokes, chosen, head, alone, 0) == 1  # no class in two places


def test_where_detail_tells_strokes_apart_surroundings_have_little_to_add():
    warm = warm_start(NetworkSpec("context", 1, 2))
    telling, misleading = (
        form_opinions(warm, *painted_places(t)[:2], *painted_places(t)[2:], 0)[0].penalties[1]
        for t in (True, False)
    )
    assert telling > 10 * misleading


@pytest.mark.parametrize("second", [slice(30, 90), slice(190, 210)], ids=["the same", "but for context"])
def test_paint_on_even_ground_fits_rather_than_blows_rounding_up(second):
    image = np.zeros((300, 500), np.uint8)
    image[:, 300:] = 200
    labels = np.zeros(image.shape, np.uint8)
    labels[130:133, 30:50], labels[200:203, 30:50] = 1, 1
    labels[130:133, second], labels[260:263, second] = 2, 2
    model = train(image, labels)
    assert max(float(weight.abs().max()) for weight in model.classifier.weights.values()) < 1000
