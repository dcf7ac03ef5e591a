"""Planes of a stack seen with their neighbours: exact in every form, better where single planes are noisy."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.testing import assert_allclose, assert_array_equal

import napari_dsparse as nd
from classifiers import classifier_for
from napari_dsparse.classifier import DEPTHS, NetworkSpec, default_classes
from napari_dsparse.cli import arguments, main
from napari_dsparse.errors import DsparseError, ImageError, ModelFileError
from napari_dsparse.files.description import describe, read_description
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.live.project_keeper import ProjectKeeper
from napari_dsparse.network import densify
from napari_dsparse.prediction import Predictor, plan_tiles, predict_image, tiles
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.pieces import Setting, do_job, make_job
from napari_dsparse.prediction.runs import Runs
from napari_dsparse.prediction.tiles import tiles_of_view
from napari_dsparse.training import find_strokes
from napari_dsparse.training.choice import choose_pixels
from napari_dsparse.training.features import PixelFeatures
from napari_dsparse.training.trainer import Trainer

EDGE = 40
FIRST_VERSION = Path(__file__).parent / "data" / "project-1"


def stack(planes=4, channels=1, seed=0, edge=EDGE):
    shape = (planes, channels, edge, edge + 6)
    return np.random.default_rng(seed).normal(10, 3, shape).astype(np.float32)


def deep(channels=1, classes=3, **options):
    """A classifier with random weights that sees neighbouring planes."""
    flat = classifier_for(channels, classes, network="context", **options)
    spec = replace(flat.spec, depth="neighbours")
    torch.manual_seed(1)
    weights = {name: w + 0.1 * torch.randn_like(w) for name, w in spec.build().state_dict().items()}
    return replace(flat, spec=spec, weights=weights)


def by_hand(classifier, source):
    """Probabilities (K, Z, Y, X) in float64: each plane whole, in the plainest way."""
    network = classifier.spec.build().double()
    network.load_state_dict(classifier.weights)
    count = len(classifier.classes)

    def plane(z, form, patch):
        half = patch // 2
        spans = ((-half, length + half) for length in source.shape[1:])
        x = classifier.normalisation.apply(source.read((z,), *spans)).astype(np.float64)
        with torch.no_grad():
            return densify(form.eval())(torch.from_numpy(x)[None])[0].numpy()

    part = torch.nn.Sequential(network.trunk, network.head.linear)
    own = [plane(z, network, classifier.spec.patch) for z in range(source.shape[0])]
    parts = [plane(z, part, classifier.spec.local_patch)[-count:] for z in range(source.shape[0])]
    last = source.shape[0] - 1
    scores = np.stack(
        [own[z] + (parts[max(z - 1, 0)] + parts[min(z + 1, last)]) / 2 for z in range(last + 1)], 1
    )
    likely = np.exp(scores - scores.max(0)) * np.array(classifier.priors)[:, None, None, None]
    return likely / likely.sum(0)


@pytest.mark.parametrize(("planes", "channels"), [(3, 2), (1, 1)])
def test_every_form_gives_what_all_planes_give_by_hand(planes, channels):
    classifier = deep(channels, priors=(0.2, 0.5, 0.3))
    source = ImageSource(stack(planes, channels, edge=24), 1)
    wanted = by_hand(classifier, source)
    predictor = Predictor(classifier)
    found = predict_image(predictor, source, probabilities=True)
    assert_allclose(found.probabilities, wanted, atol=1e-5)
    for tile in tiles_of_view(source.shape, (planes // 2,), (3, 22), (2, 25)):
        previewed = predictor.tile(source, tile).probabilities
        assert_allclose(previewed, wanted[(slice(None), *tile.slices)], atol=1e-5)
        sketched = predictor.sketch(source, tile).probabilities
        assert_allclose(sketched[:, ::4, ::4], previewed[:, ::4, ::4], atol=1e-5)


def test_the_same_bytes_whichever_planes_and_tiles_are_asked_for(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_INPUT", 240)
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    classifier, source = deep(), ImageSource(stack(3)[:, 0])
    whole = predict_image(Predictor(classifier), source, probabilities=True)
    plan = plan_tiles(source.shape, classifier.spec)
    assert len(plan) > 4
    alone = Predictor(classifier)
    alone.begin(source, plan)
    for tile in plan[::-3]:  # in another order, so nothing is left from the plane before
        assert_array_equal(
            alone.tile(source, tile).probabilities, whole.probabilities[(slice(None), *tile.slices)]
        )
    turned = predict_image(Predictor(classifier), ImageSource(source.data[::-1]), probabilities=True)
    assert_array_equal(turned.probabilities[:, ::-1], whole.probabilities)
    setting, grid = Setting.of(classifier, "cpu", "float32"), BlockGrid.over(plan, classifier.spec.block_halo)
    runs = Runs(plan)
    while runs:
        piece = runs.take("worker", {"worker": 1})
        job = make_job(setting, source, piece, grid, image="stack")
        for tile, found in zip(piece.tiles, do_job(job), strict=True):
            assert_array_equal(found.value("probabilities"), whole.probabilities[(slice(None), *tile.slices)])


def test_a_whole_stack_computes_the_features_of_a_plane_once(monkeypatch):
    seen, features = [], Predictor._features
    monkeypatch.setattr(Predictor, "_features", lambda self, *a: seen.append(a[2]) or features(self, *a))
    predict_image(Predictor(deep()), ImageSource(stack(5)[:, 0]))
    assert len(seen) == len(set(seen)) == 5 * len({(b.rows, b.columns) for b in seen})


def test_the_fit_reads_the_planes_before_and_behind_a_stroke():
    source, plain = ImageSource(stack()[:, 0]), Normalisation((10.0,), (3.0,))
    labels = np.zeros(source.shape, np.uint8)
    labels[0, 5:8, 5:30], labels[2, 20:23, 9:35] = 1, 2
    spec = NetworkSpec("context", 1, 2, "neighbours")
    features = PixelFeatures(spec, [source], [plain], torch.device("cpu"))
    for painted in (labels * (labels == 1), labels):  # the second time, the first stroke is known
        strokes = find_strokes(painted)
        chosen = choose_pixels(strokes)
        rows = features.rows(strokes, chosen, sorted({stroke.label - 1 for stroke in strokes}))
    assert len(rows.groups) == 5
    beside = []
    for step in (-1, 1):
        moved = ImageSource(source.data[np.clip(np.arange(4) + step, 0, 3)])
        flat = PixelFeatures(replace(spec, depth="off"), [moved], [plain], torch.device("cpu"))
        beside.append(flat.rows(strokes, chosen, [0, 1]).groups[0])
    assert_allclose(rows.groups[-1], (beside[0] + beside[1]) / 2, atol=1e-6)
    cells = np.array([[1, 2], [5, 7]])
    own, *others = (features.surroundings.look(0, (z,), cells) for z in (1, 0, 2))
    assert_allclose(own[:, -1], (others[0][:, 0] + others[1][:, 0]) / 2, atol=1e-6)


def noisy_cells(seed):
    """Discs that go through all planes, each plane in noise of its own; strokes on one plane; the truth."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:80, :96]
    disc = (rows % 16 - 8) ** 2 + (columns % 16 - 8) ** 2 < 30
    truth = np.broadcast_to(disc + 1, (5, *disc.shape)).astype(np.uint8)
    labels = np.zeros(truth.shape, np.uint8)
    labels[2, 8::32, 3:93] = truth[2, 8::32, 3:93]
    labels[2, 16, 3:93] = 1
    return (truth + rng.normal(0, 1, truth.shape)).astype(np.float32), labels, truth


def test_neighbours_help_where_single_planes_are_noisy():
    image, labels, truth = noisy_cells(0)
    right = {
        depth: (nd.train(image, labels, depth=depth).predict(image) == truth)[labels == 0].mean()
        for depth in ("off", "neighbours")
    }
    assert right["neighbours"] > right["off"] + 0.02, right


def test_training_refuses_what_depth_does_not_go_with():
    image, labels = stack()[:, 0], np.zeros((4, EDGE, EDGE + 6), np.uint8)
    labels[1, 5:8, 5:30], labels[1, 20:23, 9:35] = 1, 2
    with pytest.raises(DsparseError, match="choose one of off, neighbours"):
        nd.train(image, labels, depth="3d")
    with pytest.raises(DsparseError, match="network context"):
        nd.train(image, labels, depth="neighbours", network="compact")
    with pytest.raises(DsparseError, match="no gradient steps"):
        nd.train(image, labels, depth="neighbours", steps=1)
    with pytest.raises(ImageError, match="single plane"):
        nd.train(image[1], labels[1], depth="neighbours")
    with pytest.raises(ImageError, match="in time"):
        Trainer([ImageSource(image, letters="TYX")], (), depth="neighbours")
    trainer = Trainer([ImageSource(image)], default_classes(2), depth="neighbours")
    trainer.update(find_strokes(labels))
    with pytest.raises(DsparseError, match="no gradient steps"):
        trainer.train_more()
    assert trainer.steady


def test_a_single_plane_is_refused_and_a_stack_of_one_repeats_it():
    model = nd.Model(deep())
    image = stack(1)[0, 0]
    with pytest.raises(ImageError, match="neighbouring planes"):
        model.predict(image)
    once, thrice = model.predict(image[None]), model.predict(np.stack([image] * 3))
    assert_array_equal(thrice, np.repeat(once, 3, 0))


def test_a_model_file_keeps_depth_and_is_the_old_one_without(tmp_path):
    model = nd.Model(deep())
    model.save(tmp_path / "deep.safetensors")
    again = nd.load_model(tmp_path / "deep.safetensors")
    assert again.classifier.spec == model.classifier.spec
    image = stack(2)[:, 0]
    assert_array_equal(again.predict(image), model.predict(image))
    told = json.loads(describe(model.classifier))
    assert (told["schema_version"], told["network"]["depth"]) == (2, "neighbours")
    told["network"]["depth"] = "sideways"
    with pytest.raises(ModelFileError, match="sideways"):
        read_description(json.dumps(told), "deep.safetensors")
    flat = json.loads(describe(classifier_for(network="context")))
    assert flat["schema_version"] == 1
    assert set(flat["network"]) == {"name", "channels", "classes"}


def test_the_command_line_makes_the_same_bytes(tmp_path, capsys):
    image, labels = (array[1:4, :48, :48] for array in noisy_cells(1)[:2])
    path, strokes, saved, written = (
        str(tmp_path / name) for name in ("image.npy", "labels.npy", "m.safetensors", "out.ome.tif")
    )
    np.save(path, image)
    np.save(strokes, labels)
    train = ["train", "-i", path, "-l", strokes, "-o", saved]
    assert main([*train, "--depth", "neighbours", "--steps", "2"]) != 0
    assert "no gradient steps" in capsys.readouterr().err
    assert main([*train, "--depth", "neighbours"]) == 0
    assert main(["predict", "-m", saved, "-o", written, path]) == 0
    model = nd.train(image, labels, depth="neighbours")
    again = nd.load_model(saved)
    for name, weight in model.classifier.weights.items():
        assert torch.equal(weight, again.classifier.weights[name])
    assert_array_equal(tifffile.imread(written), model.predict(image))


def test_a_project_keeps_depth_and_one_of_the_first_version_has_none(tmp_path):
    image, labels = (array[1:3, :40, :40] for array in noisy_cells(2)[:2])
    np.save(tmp_path / "image.npy", image)
    with nd.Project.create(tmp_path / "cells.dsparse") as project:
        project.add(tmp_path / "image.npy", labels)
        assert project.depth == "off"
        with pytest.raises(DsparseError, match="choose one of off, neighbours"):
            project.depth = "both"
        project.save()
        assert "depth" not in json.loads((project.folder / "project.json").read_text())
        project.train(depth="neighbours")
        project.save()
    with nd.Project.open(tmp_path / "cells.dsparse") as project:
        assert project.model.classifier.spec.depth == project.depth == "neighbours"
        assert project.train().classifier.spec.neighbours
    keeper = ProjectKeeper()
    assert keeper.read(tmp_path / "cells.dsparse").depth == "neighbours"
    keeper.switch({}, {})
    keeper.save(tmp_path / "cells.dsparse", [], (), None, "off")
    keeper.close()
    assert main(["train", "--project", str(tmp_path / "cells.dsparse"), "--depth", "neighbours"]) == 0
    with nd.Project.open(tmp_path / "cells.dsparse", read_only=True) as project:
        assert project.depth == "neighbours"
    shutil.copytree(FIRST_VERSION, tmp_path / "first")
    with nd.Project.open(tmp_path / "first" / "cells.dsparse") as project:
        assert project.depth == project.model.classifier.spec.depth == "off"


def test_the_command_line_offers_every_depth():
    assert arguments.DEPTHS == DEPTHS
