"""The JSON description in a model file: written from a classifier and read back into one."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.classifier.spec import NetworkSpec
from napari_dsparse.classifier.trained import TrainedClassifier, TrainingRecord
from napari_dsparse.errors import DsparseError, ModelFileError
from napari_dsparse.files.fields import Document, Fields
from napari_dsparse.images.normalisation import Normalisation

#: Version of the description. A reader takes its own and older versions and refuses newer ones.
SCHEMA_VERSION = 3

# Limits of a description, checked before anything is built from it.
_MOST_CHANNELS = 65_535
_MOST_CLASSES = 65_535  # labels are at most uint16
_MOST_AXES = 32
_LARGEST = 2**63 - 1

_SYMMETRY_COUNTS = (1, 2, 4, 8)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def describe(classifier: TrainedClassifier) -> str:
    """Everything of a classifier but its weights, as JSON."""
    record, spec = classifier.record, classifier.spec
    network = {"name": spec.name, "channels": spec.channels, "classes": spec.classes}
    description = {
        # The first version that can say it all: without depth or exposure, all versions read the file.
        "schema_version": 3 if classifier.per_image else 2 if spec.neighbours else 1,
        "network": {**network, "depth": spec.depth} if spec.neighbours else network,
        "classes": [
            {"name": info.name, "color": info.color, "share": prior}
            for info, prior in zip(classifier.classes, classifier.priors, strict=True)
        ],
        "normalisation": {
            **asdict(classifier.normalisation),
            **({"per_image": True} if classifier.per_image else {}),
        },
        "channel_axis": classifier.channel_axis,
        "axes": classifier.letters,
        "flips": classifier.n_symmetries,
        "training": {**asdict(record), "versions": dict(record.versions)},
    }
    return json.dumps(description, ensure_ascii=False, allow_nan=False)


def read_description(text: str, file: str) -> TrainedClassifier:
    """A classifier without weights, as described in model file `file`.

    Raises
    ------
    ModelFileError
        If the text is not a description, a field of it is missing or wrong, or a newer version wrote it.
    """
    fields = Fields.parse(
        text, Document(f"Model file {file!r}", error=ModelFileError, remedy="save the model again")
    )
    version = fields.whole("schema_version", 1, _LARGEST)
    if version > SCHEMA_VERSION:
        raise ModelFileError(
            f"Model file {file!r} has schema version {version} and this napari-dsparse reads up to "
            f"{SCHEMA_VERSION}; update napari-dsparse."
        )
    network, range_ = fields.inner("network"), fields.inner("normalisation")
    channels = network.whole("channels", 1, _MOST_CHANNELS)
    count = network.whole("classes", 1, _MOST_CLASSES)
    try:
        spec = NetworkSpec(network.text("name"), channels, count, network.text_if_given("depth") or "off")
        normalisation = Normalisation(range_.numbers("offset"), range_.numbers("scale"))
    except ModelFileError:
        raise
    except DsparseError as error:  # a network or a normalisation that this version cannot make
        raise ModelFileError(f"Model file {file!r} cannot be used: {error}") from error
    classes = fields.each("classes")
    priors = tuple(entry.number("share") for entry in classes)
    if len(classes) != spec.classes:
        fields.refuse("classes", f"{spec.classes} classes, as many as the network tells apart")
    if len(normalisation.offset) != spec.channels:
        fields.refuse("normalisation", f"for {spec.channels} channels, as many as the network reads")
    if min(priors) < 0 or not 0.99 < sum(priors) < 1.01:
        fields.refuse("classes", "classes with shares from 0 to 1 that sum to 1")
    n_symmetries = fields.whole("flips", min(_SYMMETRY_COUNTS), max(_SYMMETRY_COUNTS))
    if n_symmetries not in _SYMMETRY_COUNTS:
        fields.refuse("flips", "1, 2, 4 or 8")
    return TrainedClassifier(
        spec=spec,
        weights={},
        classes=tuple(map(read_class, classes)),
        priors=priors,
        normalisation=normalisation,
        channel_axis=fields.whole_or_none("channel_axis", -_MOST_AXES, _MOST_AXES - 1),
        n_symmetries=n_symmetries,
        record=_record(fields.inner("training")),
        letters=fields.text_if_given("axes"),
        per_image=range_.truth_if_given("per_image"),
    )


def read_class(fields: Fields) -> ClassInfo:
    """A class's name and colour."""
    return ClassInfo(
        fields.text("name").encode(errors="replace").decode(),
        fields.matching("color", _COLOR, "a colour such as '#0072b2'"),
    )


def _record(fields: Fields) -> TrainingRecord:
    return TrainingRecord(
        seed=fields.whole("seed", -_LARGEST, _LARGEST),
        steps=fields.whole("steps", 0, _LARGEST),
        seconds=fields.number("seconds"),
        strokes=fields.whole("strokes", 0, _LARGEST),
        pixels=fields.whole("pixels", 0, _LARGEST),
        held_out_iou=fields.numbers_or_none("held_out_iou"),
        held_out_strokes=fields.whole("held_out_strokes", 0, _LARGEST),
        versions=fields.texts("versions"),
        created=fields.text("created"),
    )
