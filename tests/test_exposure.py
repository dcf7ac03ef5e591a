"""Exposure of several images: taken out of each by its own grey values, and suggested where it differs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.testing import assert_array_equal

import napari_dsparse as nd
from classifiers import classifier_for
from napari_dsparse import samples
from napari_dsparse.cli import arguments
from napari_dsparse.errors import DsparseError, ImageError, ModelFileError
from napari_dsparse.files.description import describe, read_description
from napari_dsparse.images import NORMALISATIONS, ImageSource, Normalisation
from napari_dsparse.images.exposure import exposure_difference
from napari_dsparse.live.project_keeper import ProjectKeeper
from napari_dsparse.prediction import Predictor, predict_image
from napari_dsparse.prediction import tiles as tiles_module
from napari_dsparse.prediction.exposure import normalised_to
from napari_dsparse.samples.scores import mean_iou
from scenes import stripes, strokes_on

FIRST_VERSION = Path(__file__).parent / "data" / "project-1"


def two_exposures() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """An image, another at a quarter of the gain, and strokes on each."""
    images, labels = [], []
    for seed, (gain, offset) in enumerate(((1, 0), (0.25, 100))):  # powers of two: no bit is lost
        image, truth = stripes((72, 100), seed)
        images.append(np.round(image) * np.float32(gain) + np.float32(offset))
        labels.append(strokes_on(truth, (12, 40 + seed)))
    return images, labels


def test_learning_by_each_images_own_exposure_helps_on_a_real_image_at_half_the_gain():
    phase = samples.load("phase")
    image = phase.image.astype(np.float32)
    images, labels = [image, image / 2 + 150], [phase.strokes.copy(), phase.strokes.copy()]
    half = image.shape[1] // 2
    labels[0][:, half:], labels[1][:, :half] = 0, 0  # each is painted where the other is not
    worst, mean = {}, {}
    for normalise in NORMALISATIONS:
        model = nd.train(images, labels, normalise=normalise)
        found = [model.predict(one) for one in images]
        scores = [mean_iou(one, phase.truth, phase.strokes) for one in found]
        worst[normalise], mean[normalise] = min(scores), np.mean(scores)
    assert (found[0] == found[1]).mean() > 0.999  # gain and offset make no difference but by rounding
    assert mean["image"] > mean["together"] + 0.03, mean  # 0.67 for 0.62
    assert worst["image"] > worst["together"] + 0.08, worst  # 0.67 for 0.56


def test_of_one_image_both_normalisations_learn_the_same():
    (image, _), (labels, _) = two_exposures()
    plain, own = (nd.train(image, labels, normalise=each, steps=2) for each in NORMALISATIONS)
    for name, weight in plain.classifier.weights.items():
        assert torch.equal(weight, own.classifier.weights[name])
    assert plain.classifier.priors == own.classifier.priors
    assert_array_equal(plain.predict_proba(image), own.predict_proba(image))
    darker = image / 2 + 9
    assert_array_equal(own.predict(darker), plain.normalised_to(darker).predict(darker))
    with pytest.raises(DsparseError, match="choose one of together, image"):
        nd.train(image, labels, normalise="model")
    with pytest.raises(DsparseError, match="as_learned"):
        Predictor(own.classifier)


def test_a_model_file_keeps_it_and_is_the_old_one_without(tmp_path):
    model = nd.Model(replace(classifier_for(network="context"), per_image=True))
    again = nd.load_model(model.save(tmp_path / "own.safetensors"))
    assert again.classifier.per_image
    bright = 100 * np.random.default_rng(0).random((40, 50), np.float32)
    assert_array_equal(again.predict(bright), model.normalised_to(bright).predict(bright))
    told = json.loads(describe(model.classifier))
    assert told["schema_version"] == 3
    told["normalisation"]["per_image"] = "yes"
    with pytest.raises(ModelFileError, match=r"per_image.*true or false"):
        read_description(json.dumps(told), "own.safetensors")
    flat = json.loads(describe(classifier_for(network="context")))
    assert flat["schema_version"] == 1
    assert set(flat["normalisation"]) == {"offset", "scale"}


def test_commands_say_that_exposures_differ_take_it_out_and_predict_what_python_does(
    run, tmp_path, monkeypatch
):
    images, labels = two_exposures()
    for number, (image, paint) in enumerate(zip(images, labels, strict=True)):
        tifffile.imwrite(tmp_path / f"day{number}.tif", image)
        tifffile.imwrite(tmp_path / f"strokes{number}.tif", paint)
    inputs = ("-i", *tmp_path.glob("day?.tif"), "-l", *tmp_path.glob("strokes?.tif"))
    inputs = ("-i", *sorted(inputs[1:3]), "-l", *sorted(inputs[4:]))
    told = run("train", *inputs, "-o", tmp_path / "told.safetensors", "--json")
    assert "day0.tif spread 4.0 times as widely as those of day1.tif" in told.out + told.err
    assert any("--normalise image takes that out" in each for each in told.facts["remarks"])
    asked = run("train", *inputs, "-o", tmp_path / "m.safetensors", "--normalise", "image", "--json")
    assert asked.code == 0
    assert asked.facts["remarks"] == []
    model, again = nd.train(images, labels, normalise="image"), nd.load_model(tmp_path / "m.safetensors")
    for name, weight in model.classifier.weights.items():
        assert torch.equal(weight, again.classifier.weights[name])
    monkeypatch.setattr(tiles_module, "TILE_INPUT", 240)
    monkeypatch.setattr(tiles_module, "TILE_OVER_HALO", 0.1)  # several tiles in a small image
    ran = run("predict", "-m", tmp_path / "m.safetensors", "-o", f"{tmp_path}/out/", *inputs[1:3])
    assert ran.code == 0
    assert "Grey values" not in ran.out + ran.err
    monkeypatch.undo()
    for image, written in zip(images, sorted((tmp_path / "out").iterdir()), strict=True):
        source = ImageSource(image)
        whole = predict_image(Predictor(normalised_to(again.classifier, source)), source).labels
        assert_array_equal(tifffile.imread(written), whole)
        assert_array_equal(model.predict(image), whole)


def test_a_project_keeps_it_and_one_of_the_first_version_has_none(run, tmp_path):
    images, labels = two_exposures()
    with nd.Project.create(tmp_path / "cells.dsparse") as project:
        for number, (image, paint) in enumerate(zip(images, labels, strict=True)):
            np.save(tmp_path / f"day{number}.npy", image)
            project.add(tmp_path / f"day{number}.npy", paint)
        assert project.normalise == "together"
        with pytest.raises(DsparseError, match="choose one of together, image"):
            project.normalise = "model"
        project.save()
        assert "normalise" not in json.loads((project.folder / "project.json").read_text())
    assert "times as widely" in run("train", "--project", tmp_path / "cells.dsparse").out
    predict = ("predict", "--project", tmp_path / "cells.dsparse", "-o")
    ran = run(*predict, f"{tmp_path}/learned/")
    assert ran.code == 0
    assert "Grey values" not in ran.out + ran.err  # the model knows them
    np.save(tmp_path / "new.npy", images[1])
    assert (
        "Grey values of new.npy spread" in run(*predict, tmp_path / "new.ome.tif", tmp_path / "new.npy").out
    )
    assert run("train", "--project", tmp_path / "cells.dsparse", "--normalise", "image").code == 0
    with nd.Project.open(tmp_path / "cells.dsparse") as project:
        assert project.normalise == "image"
        of_command, of_project = project.model, project.train()
        assert of_command.classifier.per_image
        for name, weight in of_project.classifier.weights.items():
            assert torch.equal(weight, of_command.classifier.weights[name])
        assert_array_equal(project.predict("day1.npy"), of_project.predict(images[1]))
        project.save()
    keeper = ProjectKeeper()
    assert keeper.read(tmp_path / "cells.dsparse").normalise == "image"
    keeper.switch({}, {})
    keeper.save(tmp_path / "cells.dsparse", [], (), None, normalise="together")
    keeper.close()
    with nd.Project.open(tmp_path / "cells.dsparse", read_only=True) as project:
        assert project.normalise == "together"
    shutil.copytree(FIRST_VERSION, tmp_path / "first")
    with nd.Project.open(tmp_path / "first" / "cells.dsparse") as project:
        assert project.normalise == "together"
        assert not project.model.classifier.per_image


def test_the_two_of_several_images_that_differ_most_are_named():
    rng = np.random.default_rng(0)
    plain = rng.normal(100, 10, (90, 80)).astype(np.float32)
    named = {"plain": plain, "similar": 1.5 * plain, "dim": plain / 5, "shifted": plain + 900}
    sources = {name: ImageSource(image, name=name) for name, image in named.items()}
    assert exposure_difference([sources["plain"], sources["similar"]]) is None
    assert exposure_difference([sources["plain"]]) is None
    spread = exposure_difference([sources[name] for name in ("plain", "dim", "similar")])
    assert spread is not None
    assert "similar spread 7.5 times as widely as those of dim." in spread.sentence
    higher = exposure_difference([sources[name] for name in ("plain", "shifted")])
    assert higher is not None
    assert higher.sentence == "Grey values of shifted lie far above those of plain."
    blank = ImageSource(np.full((9, 9), np.nan, np.float32))
    assert exposure_difference([blank, sources["plain"]]) is None  # it tells nothing
    with pytest.raises(ImageError, match="no finite pixel"):
        Normalisation.measure([blank])


def test_images_with_other_channels_are_not_compared():
    rng = np.random.default_rng(0)
    grey, colour = rng.normal(10, 1, (40, 40)), rng.normal(100, 30, (40, 40, 3))
    assert exposure_difference([ImageSource(grey), ImageSource(colour, 2)]) is None


def test_the_command_line_offers_every_normalisation():
    assert arguments.NORMALISATIONS == NORMALISATIONS
