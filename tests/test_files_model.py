"""Models on disk: what is saved comes back, and what is not a model is refused before it can do harm."""

from __future__ import annotations

import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from napari_dsparse.classifier.classes import ClassInfo, default_classes
from napari_dsparse.classifier.spec import NETWORKS, NetworkSpec
from napari_dsparse.classifier.trained import TrainedClassifier, TrainingRecord
from napari_dsparse.errors import ExportError, ModelFileError
from napari_dsparse.files.model import read_classifier, save_classifier
from napari_dsparse.images.normalisation import Normalisation

ENTRY = "napari-dsparse"


def make_classifier(name: str = "compact", channels: int = 2, classes: int = 3) -> TrainedClassifier:
    spec = NetworkSpec(name, channels, classes)
    torch.manual_seed(0)
    return TrainedClassifier(
        spec=spec,
        weights=spec.build().state_dict(),
        classes=(*default_classes(classes - 1), ClassInfo('Zellkern "µ" 核', "#D55e00")),
        priors=(1 / (classes - 1),) * (classes - 1) + (0.0,),
        normalisation=Normalisation(tuple(map(float, range(channels))), (0.25,) * channels),
        channel_axis=-1,
        n_symmetries=8,
        record=TrainingRecord(
            seed=7,
            steps=140,
            seconds=2.5,
            strokes=9,
            pixels=1203,
            held_out_iou=(0.81, None, 0.4)[:classes],
            held_out_strokes=5,
            versions=(("napari-dsparse", "0.1.0"), ("torch", "2.13.0")),
            created="2026-11-01T12:00:00+00:00",
        ),
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_classifier(make_classifier(), tmp_path / "model.safetensors")


def rewrite(path: Path, change: Any) -> Path:
    """The same file with its description changed in place by `change`."""
    with safe_open(str(path), framework="pt") as opened:
        description = json.loads(opened.metadata()[ENTRY])
        del description["checksum"]  # files of the first versions have none
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    change(description)
    save_file(tensors, path, metadata={ENTRY: json.dumps(description)})
    return path


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (5, 3)])
def test_a_model_comes_back_as_it_was_saved(tmp_path: Path, name: str, channels: int, classes: int) -> None:
    classifier = make_classifier(name, channels, classes)
    back = read_classifier(save_classifier(classifier, tmp_path / "m.safetensors"))
    for field in ("spec", "classes", "priors", "normalisation", "channel_axis", "n_symmetries", "record"):
        assert getattr(back, field) == getattr(classifier, field)
    assert list(back.weights) == list(classifier.weights)
    for key, tensor in classifier.weights.items():
        assert back.weights[key].dtype == tensor.dtype
        assert torch.equal(back.weights[key], tensor)
    back.spec.build().load_state_dict(dict(back.weights))


def test_a_file_keeps_the_names_that_older_versions_wrote(saved: Path) -> None:
    with safe_open(str(saved), framework="pt") as opened:
        description = json.loads(opened.metadata()[ENTRY])
    assert description["flips"] == 8
    assert [entry["share"] for entry in description["classes"]] == list(make_classifier().priors)


def test_equal_models_make_equal_bytes(tmp_path: Path) -> None:
    first = save_classifier(make_classifier(), tmp_path / "a.safetensors")
    second = save_classifier(make_classifier(), tmp_path / "b.safetensors")
    assert first.read_bytes() == second.read_bytes()


def test_a_model_without_a_checksum_opens(saved: Path) -> None:
    back = read_classifier(rewrite(saved, lambda description: None))
    assert back.classes == make_classifier().classes


@settings(max_examples=150, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, share: float, flip: int
) -> None:
    path = save_classifier(make_classifier(), tmp_path_factory.mktemp("models") / "m.safetensors")
    content = bytearray(path.read_bytes())
    # Half of the changes fall into the header, which is a small part of the file.
    header = int.from_bytes(content[:8], "little") + 8
    place = int(share * 2 * header) if share < 0.5 else int((share - 0.5) * 2 * len(content))
    content[place] ^= flip
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        read_classifier(path)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
def test_a_model_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    for mask in (0o022, 0o027):
        before = os.umask(mask)
        try:
            path = save_classifier(make_classifier(), tmp_path / f"{mask}.safetensors")
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_model_in_memory_outlives_its_file(saved: Path) -> None:
    back = read_classifier(saved)
    saved.write_bytes(b"")
    assert torch.equal(back.weights["0.weight"], make_classifier().weights["0.weight"])


def test_an_existing_model_is_replaced_only_when_told_to(saved: Path) -> None:
    before = saved.read_bytes()
    other = replace(make_classifier(), n_symmetries=1)
    with pytest.raises(ExportError, match="already exists"):
        save_classifier(other, saved)
    assert saved.read_bytes() == before
    save_classifier(other, saved, overwrite=True)
    assert read_classifier(saved).n_symmetries == 1


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be opened"):
        read_classifier(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="cannot be opened"):
        read_classifier(tmp_path)


@settings(max_examples=60, deadline=None)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_a_truncated_model_is_refused(tmp_path_factory: pytest.TempPathFactory, fraction: float) -> None:
    path = save_classifier(make_classifier(), tmp_path_factory.mktemp("cut") / "m.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ModelFileError):
        read_classifier(path)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        read_classifier(path)


class Bomb:
    """Unpickling this would fail the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_never_loaded(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(ModelFileError, match="never loaded"):
        read_classifier(path)


def test_a_torch_archive_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="never loaded"):
        read_classifier(path)


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="no napari-dsparse model"):
        read_classifier(path)


def write_header(path: Path, header: dict[str, Any], body: bytes = b"") -> Path:
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + body)
    return path


@pytest.mark.parametrize("shape", [[2**40], [2**32, 2**32], [2**63, 4], [10**30]])
def test_a_claimed_shape_beyond_the_file_takes_no_memory(tmp_path: Path, shape: list[int]) -> None:
    elements = 1
    for n in shape:
        elements *= n
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, min(4 * elements, 2**63)]}
    with pytest.raises(ModelFileError, match="damaged"):
        read_classifier(write_header(tmp_path / "m.safetensors", {"weight": tensor}))


@pytest.mark.parametrize("header", [2**63, 2**40, 2**24 + 1])
def test_a_claimed_header_beyond_reason_is_refused(tmp_path: Path, header: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", header) + b"{" + b" " * 100)
    with pytest.raises(ModelFileError):
        read_classifier(path)


@pytest.mark.parametrize(("field", "claim"), [("channels", 60_000), ("classes", 60_000), ("classes", 2**40)])
def test_a_claimed_network_beyond_the_file_takes_no_memory(saved: Path, field: str, claim: int) -> None:
    def change(description: dict[str, Any]) -> None:
        description["network"][field] = claim
        one = description["classes"][0]
        number = min(description["network"]["classes"], 60_000)
        description["classes"] = [{**one, "share": 1 / number}] * number
        count = description["network"]["channels"]
        description["normalisation"] = {"offset": [0.0] * count, "scale": [1.0] * count}

    with pytest.raises(ModelFileError, match="shape" if claim == 60_000 else "whole number"):
        read_classifier(rewrite(saved, change))


CHANGES: dict[str, tuple[Any, str]] = {
    "no version": (lambda d: d.pop("schema_version"), "schema_version"),
    "newer version": (lambda d: d.update(schema_version=99), "update napari-dsparse"),
    "version as text": (lambda d: d.update(schema_version="1"), "schema_version"),
    "unknown network": (lambda d: d["network"].update(name="resnet"), "resnet"),
    "network of another kind": (lambda d: d.update(network=[1, 2]), "network"),
    "true as a number": (lambda d: d["network"].update(channels=True), "channels"),
    "no channels": (lambda d: d["network"].update(channels=0), "channels"),
    "a class too many": (lambda d: d["classes"].append(d["classes"][0]), "classes"),
    "a class of another kind": (lambda d: d["classes"].__setitem__(0, "x"), "classes"),
    "colour in words": (lambda d: d["classes"][1].update(color="red"), r"classes\[1\].color"),
    "no class present": (lambda d: [c.update(share=0) for c in d["classes"]], "sum to 1"),
    "a negative share": (lambda d: d["classes"][0].update(share=-0.5), "sum to 1"),
    "a share as text": (lambda d: d["classes"][0].update(share="all"), r"classes\[0\].share"),
    "offset missing": (lambda d: d["normalisation"]["offset"].pop(), "offset"),
    "offset not finite": (lambda d: d["normalisation"].update(offset=[0.0, float("nan")]), "offset"),
    "offset beyond float32": (lambda d: d["normalisation"].update(offset=[0.0, 1e308]), "float32"),
    "scale below float32": (lambda d: d["normalisation"].update(scale=[1.0, 1e-300]), "float32"),
    "scale of zero": (lambda d: d["normalisation"].update(scale=[1.0, 0.0]), "scale"),
    "channels of another image": (
        lambda d: d["normalisation"].update(offset=[0.0] * 9, scale=[1.0] * 9),
        "normalisation",
    ),
    "three symmetries": (lambda d: d.update(flips=3), "flips"),
    "axis far away": (lambda d: d.update(channel_axis=10**6), "channel_axis"),
    "no training record": (lambda d: d.pop("training"), "training"),
    "versions as numbers": (lambda d: d["training"].update(versions={"torch": 2}), "versions.torch"),
    "a number beyond floats": (lambda d: d["training"].update(seconds=10**400), "seconds"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_wrong_description_is_refused_by_name_in_one_sentence(saved: Path, case: str) -> None:
    change, word = CHANGES[case]
    with pytest.raises(ModelFileError, match=word) as caught:
        read_classifier(rewrite(saved, change))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{", "[" * 100_000, '{"schema_version": ' + "9" * 5000 + "}"]
)
def test_a_description_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={ENTRY: text})
    with pytest.raises(ModelFileError, match="description"):
        read_classifier(path)


def test_weights_that_do_not_fit_the_network_are_refused(tmp_path: Path) -> None:
    classifier = make_classifier()
    name = next(iter(classifier.weights))
    weights = dict(classifier.weights)
    cases = {
        "shape": {**weights, name: weights[name][:1].clone()},
        "F16": {**weights, name: weights[name].half()},
        "holds no": {key: tensor for key, tensor in weights.items() if key != name},
        "unknown": {**weights, "extra": torch.zeros(3)},
        "finite": {**weights, name: torch.full_like(weights[name], torch.nan)},
        "up to 1e": {**weights, name: torch.full_like(weights[name], 3e38)},
    }
    for number, (word, changed) in enumerate(cases.items()):
        path = save_classifier(replace(classifier, weights=changed), tmp_path / f"{number}.safetensors")
        with pytest.raises(ModelFileError, match=word):
            read_classifier(path)
