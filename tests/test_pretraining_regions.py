"""Wide scenes: regions that differ in what they are made of, and paint that grows on them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pretraining.appearance import distractors
from pretraining.draws import Stream, generator
from pretraining.layouts import draw_layout
from pretraining.matter import TRAITS, Matter, draw_matters, dye_maps, scatter
from pretraining.microscope import micrographs
from pretraining.painting import FIRST_STROKES, paint
from pretraining.regions import LAYOUTS, LEAST_SHARE, draw_regions
from pretraining.scenes import wide_scene
from pretraining.shapes import FAR_OUT, blobs
from pretraining.stains import METHODS
from scipy import ndimage

from napari_dsparse.training import find_strokes

#: Smaller than the scenes that are learned from, for speed.
SMALL = 256


@pytest.mark.parametrize("regions", [True, False])
def test_a_wide_scene_is_a_normalised_image_with_every_class_in_it(regions: bool) -> None:
    for number in range(2):
        image, labels = wide_scene(generator(Stream.WIDE_SCENES, 0, number), regions)
        channels, size, _ = image.shape
        assert 1 <= channels <= 4
        assert 384 <= size <= 512
        assert image.dtype == np.float32
        assert labels.shape == (size, size)
        assert labels.dtype == np.int64
        assert np.isfinite(image).all()
        assert np.abs(np.median(image, (1, 2))).max() < 1e-3
        assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert 2 <= labels.max() + 1 <= 6


def test_wide_scenes_repeat_by_seed() -> None:
    one, two, other = (wide_scene(generator(Stream.WIDE_SCENES, 0, number)) for number in (7, 7, 8))
    assert_array_equal(one[0], two[0])
    assert_array_equal(one[1], two[1])
    assert one[0].shape != other[0].shape or not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_of_regions_covers_the_scene(layout) -> None:
    kinds = layout(np.random.default_rng(1), SMALL)
    assert kinds.shape == (SMALL, SMALL)
    assert kinds.min() >= 0


def test_regions_are_large_and_no_class_is_tiny() -> None:
    for seed in range(5):
        regions = draw_regions(np.random.default_rng(seed), SMALL)
        assert np.bincount(regions.labels.ravel()).min() > LEAST_SHARE * SMALL**2
        assert_array_equal(np.unique(regions.kinds), np.arange(regions.kinds.max() + 1))
        depths = [ndimage.distance_transform_edt(regions.kinds == k).max() for k in np.unique(regions.kinds)]
        assert max(depths) > 20, "the widest is tens of pixels across"


def test_kinds_lie_in_one_place_or_in_several() -> None:
    places = []
    for seed in range(10):
        kinds = draw_regions(np.random.default_rng(seed), SMALL).kinds
        for kind in np.unique(kinds):
            parts, count = ndimage.label(kinds == kind)
            large = np.bincount(parts.ravel(), minlength=count + 1)[1:] > 200
            places.append(int(large.sum()))
    assert np.mean(np.array(places) == 1) > 0.2
    assert np.mean(np.array(places) > 1) > 0.2


@pytest.mark.parametrize("kinds", [2, 4])
@pytest.mark.parametrize("trait", TRAITS, ids=lambda trait: trait.__name__)
def test_a_trait_tells_all_kinds_apart_and_changes_nothing_else(trait, kinds: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        (base,) = draw_matters(rng, 1, 2)
        changed = trait(rng, [base] * kinds)
        assert len(set(changed)) == kinds
        same = [own.name for own in fields(Matter) if len({getattr(m, own.name) for m in changed}) == 1]
        assert len(same) >= len(fields(Matter)) - 1


def test_a_pixel_of_one_kind_looks_like_a_pixel_of_another() -> None:
    """Kinds share most of their intensities: their histograms overlap more than they differ."""
    overlaps = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        regions = draw_regions(rng, SMALL)
        plain = replace(regions, glass=np.zeros_like(regions.glass), things=np.zeros_like(regions.things))
        maps = dye_maps(rng, plain, draw_matters(rng, int(plain.kinds.max()) + 1, 2), 2)
        for image in micrographs(rng, maps):
            bounds = np.quantile(image, np.linspace(0, 1, 33)[1:-1])
            binned = np.digitize(image, bounds)
            parts = [np.bincount(binned[plain.kinds == k], minlength=32) for k in (0, 1)]
            overlaps.append(np.minimum(*(part / part.sum() for part in parts)).sum())
    assert np.median(overlaps) > 0.5


def test_a_crowd_keeps_to_its_region_and_grows_with_its_cover() -> None:
    rng = np.random.default_rng(0)
    (matter,) = draw_matters(rng, 1, 2)
    crowd = replace(matter.crowds[0], radius=4.0, slender=0.8, hollow=0.0, amount=1.0)
    where = np.zeros((SMALL, SMALL), bool)
    where[:, : SMALL // 2] = True
    for arrangement in ("random", "regular", "gathered"):
        covers = []
        for cover in (0.05, 0.3):
            dye = scatter(rng, where, replace(crowd, arrangement=arrangement, cover=cover), 1.0)
            assert not dye[:, SMALL // 2 + 10 :].any()
            covers.append((dye[where] > 0.3).mean())
        assert 0.015 < covers[0] < covers[1] < 0.4


@pytest.mark.parametrize("method", sorted(set(METHODS), key=lambda method: method.__name__))
def test_every_method_gives_channels_in_which_all_dyes_show(method) -> None:
    rng = np.random.default_rng(0)
    dyes = rng.random((3, 32, 32))
    light = method(rng, dyes)
    assert 1 <= len(light) <= 4
    assert light.shape[1:] == (32, 32)
    assert np.isfinite(light).all()
    seen = np.array([[abs(np.corrcoef(c.ravel(), d.ravel())[0, 1]) for d in dyes] for c in light])
    assert (seen.max(0) > 0.1).all()


def test_small_kinds_of_specimen_lie_as_densely_in_a_larger_scene() -> None:
    shares = [
        [
            np.mean(blobs(np.random.default_rng(s), round(20 * (n / 160) ** 2), 4, 8, n)[0] > 0)
            for s in range(4)
        ]
        for n in (160, 320)
    ]
    assert 0.7 < np.mean(shares[0]) / np.mean(shares[1]) < 1.4
    for seed in range(3):
        layout = draw_layout(np.random.default_rng(seed), 200)
        assert layout.labels.shape == layout.depth.shape == layout.seen_as().shape == (200, 200)
    assert distractors(np.random.default_rng(0), 200).shape == (200, 200)


def test_a_blob_reaches_as_far_as_its_depth() -> None:
    """A blob is drawn in a window only, whose edge must not cut it off."""
    _, depth = blobs(np.random.default_rng(2), 1, 6, 6, 320)
    near = np.abs(depth + FAR_OUT) > 1e-6
    jumps = np.abs(np.diff(depth, axis=0))[near[1:] != near[:-1]]
    assert near.any()
    assert jumps.max(initial=0) < 4


def test_paint_grows_stroke_by_stroke_within_classes() -> None:
    labels = np.zeros((SMALL, SMALL), np.int64)
    labels[60:150, 40:], labels[200:] = 1, 2
    whole = paint(np.random.default_rng(0), labels, 1500)
    places = np.concatenate(whole.strokes)
    assert len(np.unique(places)) == len(places)
    assert 700 < len(places) < 3200
    for stroke, label in zip(whole.strokes, whole.classes, strict=True):
        assert (labels.ravel()[stroke] == label).all()
    before: set[int] = set()
    for pixels in (0, 300, 800, 1e9):
        part = whole.first(pixels)
        own = set(np.concatenate(part.strokes).tolist())
        assert before <= own
        assert np.bincount(part.classes).min() >= FIRST_STROKES
        before = own
    assert before == set(places.tolist())
    least = whole.first(0)
    assert_array_equal(np.bincount(least.classes), [FIRST_STROKES] * 3)
    assert max(len(stroke) for stroke in least.strokes) <= 32
    painted = np.where(np.isin(np.arange(labels.size), places), labels.ravel() + 1, 0).reshape(labels.shape)
    assert {stroke.label for stroke in find_strokes(painted)} == {1, 2, 3}
