"""The forms in napari's menus: one per function of `layer_functions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from magicgui.type_map import type2callback
from napari.layers import Layer

from napari_dsparse.gui.contributions.background import Form, background_form
from napari_dsparse.gui.contributions.layer_functions import (
    export_layer,
    find_layer_objects,
    measure_layer,
    segment_layer,
    train_on_layers,
)
from napari_dsparse.gui.contributions.reader import open_labels
from napari_dsparse.gui.layers.class_look import CLASS_COLUMN
from napari_dsparse.gui.layers.exporting import LABELS_FILTER, MODEL_FILTER, export_filters
from napari_dsparse.gui.objects_work import counted
from napari_dsparse.gui.widgets.new_file_edit import NewFileEdit

_LARGEST = 10_000_000
_MIN_SIZE = {"label": "Smallest (px)", "min": 0, "max": _LARGEST}
_SEPARATE = {"text": "cut touching objects apart"}
_VOLUME = {"text": "in 3-D, over planes"}


def _add_layers(form: Form, data: list[Any]) -> list[Layer]:
    """Add layers on top of the form's viewer, always new ones: napari numbers a name that is taken."""
    layers = [Layer.create(*datum) for datum in data]
    for add in type2callback(list[Layer]):
        add(form, layers, list[Layer])
    return layers


def _trained(form: Form, arguments: Mapping[str, Any], file: Any) -> str:
    return f"Model saved as {file.name}."


def _segmented(form: Form, arguments: Mapping[str, Any], data: list[Any]) -> str:
    layers = _add_layers(form, data)
    return f"Added {', '.join(layer.name for layer in layers)}."


def _objects_found(form: Form, arguments: Mapping[str, Any], datum: Any) -> str:
    if datum is None:
        return ""  # it was stopped, which the form says itself
    count = int(np.max(datum[0], initial=0))
    if not count:
        return (
            f"No objects: {arguments['layer'].name} holds nothing but 0 and the background "
            f"({arguments['background']}), or everything is too small."
        )
    (layer,) = _add_layers(form, [datum])
    return f"{counted(count)} in {layer.name}."


def _measured(form: Form, arguments: Mapping[str, Any], table: Any) -> str:
    layer, file = arguments["objects"], arguments["table_file"]
    # napari finds a label's row by "index", and we a class's name by "class".
    features = table.rename(columns={"label": "index", CLASS_COLUMN: "class number"})
    layer.features = features
    saved = "" if file is None else f" and saved as {file.with_suffix(file.suffix or '.csv').name}"
    return (
        f"{counted(len(table))} measured{saved}; the table is in Layers > Metadata > Features table widget."
    )


def _exported(form: Form, arguments: Mapping[str, Any], file: Any) -> str:
    return f"Saved as {file.name}."


def _prepare_segment(form: Form) -> None:
    """Enable the options of finding objects while objects are wanted; name the button as other forms do."""
    form.model_file.choose_btn.text = "Choose..."

    def follow(wanted: bool) -> None:
        form.min_size.enabled = form.separate.enabled = wanted

    form.objects.changed.connect(follow)
    follow(form.objects.value)


def _opened(form: Form, arguments: Mapping[str, Any], data: list[Any]) -> str:
    (layer,) = _add_layers(form, data)
    return f"Opened as {layer.name}."


def _prepare_open(form: Form) -> None:
    """Name the button as other forms do."""
    form.file.choose_btn.text = "Choose..."


train_form = background_form(
    train_on_layers,
    button="Train and save",
    doing="Training",
    finish=_trained,
    image={"label": "Image"},
    strokes={"label": "Strokes"},
    model_file={
        "label": "Save model as",
        "widget_type": NewFileEdit,
        "filter": MODEL_FILTER,
        "suggestion": "model.safetensors",
        "title": "Save model",
    },
    neighbours={"text": "neighbouring planes too, of a stack in depth"},
)

segment_form = background_form(
    segment_layer,
    button="Segment",
    doing="Segmenting",
    finish=_segmented,
    prepare=_prepare_segment,
    image={"label": "Image"},
    model_file={"label": "Model", "mode": "r", "filter": MODEL_FILTER},
    segmentation={"text": "segmentation"},
    probabilities={"text": "probability of each class"},
    uncertainty={"text": "uncertainty"},
    objects={"text": "objects"},
    min_size=_MIN_SIZE,
    separate=_SEPARATE,
)

objects_form = background_form(
    find_layer_objects,
    button="Find objects",
    doing="Finding objects",
    finish=_objects_found,
    layer={"label": "Labels"},
    background={"label": "Background", "min": 0, "max": 65_535},
    min_size=_MIN_SIZE,
    max_hole={"label": "Fill holes up to (px)", "min": 0, "max": _LARGEST},
    separate=_SEPARATE,
    splitting={"label": "Splitting", "widget_type": "FloatSlider", "min": 0, "max": 1, "step": 0.05},
    border_objects={"text": "keep objects at the edge"},
    volume=_VOLUME,
)

measure_form = background_form(
    measure_layer,
    button="Measure",
    doing="Measuring",
    finish=_measured,
    objects={"label": "Objects"},
    image={"label": "Intensities of"},
    classes={"label": "Classes of"},
    volume=_VOLUME,
    table_file={
        "label": "Save table as",
        "widget_type": NewFileEdit,
        "filter": "Table (*.csv)",
        "suggestion": "measurements.csv",
        "title": "Save measurements",
    },
)

export_form = background_form(
    export_layer,
    button="Export",
    doing="Writing",
    finish=_exported,
    layer={"label": "Labels"},
    file={
        "label": "Save as",
        "widget_type": NewFileEdit,
        "filter": export_filters(),
        "suggestion": "labels.ome.tif",
        "title": "Export labels",
    },
)

open_form = background_form(
    open_labels,
    button="Open",
    doing="Reading",
    finish=_opened,
    prepare=_prepare_open,
    file={"label": "Labels", "mode": "r", "filter": LABELS_FILTER},
)
