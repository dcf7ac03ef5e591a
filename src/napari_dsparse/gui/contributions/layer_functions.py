"""Train, segment, find objects, measure and export, as plain functions of napari's layers.

They are what the forms in napari's menus run (`forms`), and can be called from a script or napari's console.
Each reads its layers once, when it begins, copies labels that could be painted on meanwhile, and gives back
values: it neither changes a layer nor adds one, so any thread may run it. No file is ever replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from napari.layers import Image, Labels
from napari.types import LayerDataTuple

from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.gui.contributions.layer_parts import (
    class_names,
    labels_layer,
    map_layer,
    named,
    new_file,
    ours,
    painted_classes,
    snapshot,
)
from napari_dsparse.gui.contributions.writer import classes_of_attributes
from napari_dsparse.gui.layers.class_look import (
    class_colormap,
    class_features,
    probability_look,
)
from napari_dsparse.gui.layers.exporting import MODEL_SUFFIX, axis_letters
from napari_dsparse.gui.layers.image_frame import (
    data_of,
    frame_for_channels,
    frame_for_labels,
    placement_of,
)
from napari_dsparse.gui.layers.overlay import SEGMENTATION_OPACITY
from napari_dsparse.gui.layers.result_layers import UNCERTAINTY_LOOK
from napari_dsparse.prediction.object_options import SPLITTING, ObjectOptions

Progress = Callable[[float], None]
Stop = Callable[[], bool]


def train_on_layers(
    image: Image, strokes: Labels, model_file: Path, neighbours: bool = False, *, stop: Stop | None = None
) -> Path | None:
    """Train a model on an image and the strokes painted on it, and save it.

    Parameters
    ----------
    image : Image
        The image that was painted on.
    strokes : Labels
        A layer with a few strokes of two classes or more: 1, 2, ... by class, 0 where nothing is painted.
    model_file : Path
        New file for the model; .safetensors is added to a name without suffix.
    neighbours : bool
        Let the classes of a pixel depend on the planes before and behind too; for a stack in depth.
    stop : callable, optional
        Asked between steps; once it says yes, nothing is saved and None returned.

    Returns
    -------
    Path or None
        Where the model was saved.

    Raises
    ------
    ExportError
        If the file exists or cannot be written.
    ImageError, LabelsError
        If the strokes do not lie on the image's pixels, fewer than two classes are painted, or neighbouring
        planes are asked for and the image is no stack in depth.
    """
    from napari_dsparse.model import train

    frame = frame_for_labels(image, data_of(strokes).shape, strokes.name)
    labels = frame.engine_view(snapshot(strokes))
    classes = painted_classes(strokes, labels)
    file = new_file(model_file, "the model", MODEL_SUFFIX)
    depth = "neighbours" if neighbours else "off"
    model = train(frame.source, labels, classes=classes, depth=depth, stop=stop)
    return None if stop is not None and stop() else model.save(file)


def segment_layer(
    image: Image,
    model_file: Path,
    segmentation: bool = True,
    probabilities: bool = False,
    uncertainty: bool = False,
    objects: bool = False,
    min_size: int = 0,
    separate: bool = True,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> list[LayerDataTuple]:
    """Segment an image with a saved model.

    Parameters
    ----------
    image : Image
        The image to segment, with as many channels as the model learned from.
    model_file : Path
        A model saved here or with the dock's Save model.
    segmentation : bool
        Add the most probable class of every pixel, as a labels layer.
    probabilities : bool
        Add the probability of every class, 0 to 1, as image layers.
    uncertainty : bool
        Add the closeness of the second class to the first, 0 (certain) to 1 (a tie), as an image layer.
    objects : bool
        Add numbered objects of every class but the first, as a labels layer.
    min_size : int
        Objects of fewer pixels are left out.
    separate : bool
        Cut touching objects apart.
    progress : callable, optional
        Called with the share of pixels done, 0..1.
    stop : callable, optional
        Asked several times per tile; once it says yes, no layers are returned.

    Returns
    -------
    list of LayerDataTuple
        Data, attributes and type of each layer that was asked for, on the image's pixels.

    Raises
    ------
    ModelFileError
        If the file is not a model.
    ImageError
        If the image does not have the model's channels, or the model looks at neighbouring planes and it has
        none.
    DsparseError
        If nothing is asked for, or the smallest size is negative.
    """
    from napari_dsparse.model import load_model
    from napari_dsparse.prediction.objects import find_objects

    if not (segmentation or objects or probabilities or uncertainty):
        raise DsparseError("No result is chosen; tick at least one of segmentation, objects and maps.")
    model = load_model(named(model_file, "the model to use"))
    frame = frame_for_channels(image, model.classifier.spec.channels, model.classifier.channel_axis)
    if model.classifier.spec.neighbours and frame.source.depth_problem is not None:
        raise ImageError(f"This model looks at neighbouring planes. {frame.source.depth_problem}")
    maps = model.predict_maps(
        frame.source.data,
        channel_axis=frame.source.channel_axis,
        probabilities=probabilities,
        uncertainty=uncertainty,
        progress=progress,
        stop=stop,
    )
    if stop is not None and stop():
        return []
    layers: list[LayerDataTuple] = []
    if maps.uncertainty is not None:
        layers.append(map_layer(frame, maps.uncertainty, "uncertainty", UNCERTAINTY_LOOK))
    if maps.probabilities is not None:
        layers += [
            map_layer(frame, values, f"probability {info.name}", probability_look(info))
            for info, values in zip(model.classes, maps.probabilities, strict=True)
        ]
    if segmentation:
        look = {
            "opacity": SEGMENTATION_OPACITY,
            "features": class_features(model.classes),
            "colormap": class_colormap(model.classes),
        }
        layers.append(labels_layer(frame, maps.labels, "segmentation", look))
    if objects:
        numbered = find_objects(maps.labels, min_size=min_size, separate=separate)
        layers.append(labels_layer(frame, numbered, "objects", {}))
    return layers


def find_layer_objects(
    layer: Labels,
    background: int = 1,
    min_size: int = 0,
    max_hole: int = 0,
    separate: bool = True,
    splitting: float = SPLITTING,
    border_objects: bool = True,
    volume: bool = False,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> LayerDataTuple | None:
    """Number the objects of a segmentation.

    Parameters
    ----------
    layer : Labels
        A segmentation, or a mask.
    background : int
        The label that is no object: 1 in segmentations made here, 0 in masks. 0 never is an object.
    min_size : int
        Objects of fewer pixels are left out.
    max_hole : int
        Holes of at most so many pixels are filled.
    separate : bool
        Cut touching objects apart.
    splitting : float
        Strength of cutting apart: 0 never, 1 at every neck.
    border_objects : bool
        False leaves out objects that touch the image's edge.
    volume : bool
        True connects the planes of a stack, to objects in 3-D.
    progress : callable, optional
        Called with the share done, 0..1.
    stop : callable, optional
        Asked between objects; once it says yes, no layer is returned.

    Returns
    -------
    LayerDataTuple or None
        A labels layer of objects numbered from 1 (uint32), on the pixels of `layer`.

    Raises
    ------
    LabelsError, DsparseError
        If the layer holds negative numbers or has no planes to connect, or an option is not possible.
    """
    from napari_dsparse.prediction.objects import find_objects

    placement, name = placement_of(layer), layer.name
    options = ObjectOptions(
        background=background,
        min_size=min_size,
        max_hole=max_hole,
        separate=separate,
        splitting=splitting,
        border_objects=border_objects,
        volume=volume,
    ).at_scale(layer.scale, [str(unit) for unit in layer.units])
    numbered = find_objects(snapshot(layer), options, progress=progress, stop=stop)
    if stop is not None and stop():
        return None
    return LayerDataTuple((numbered, {"name": f"{name} objects", **ours(), **placement}, "labels"))


def measure_layer(
    objects: Labels,
    image: Image | None = None,
    classes: Labels | None = None,
    volume: bool = False,
    table_file: Path | None = None,
) -> pd.DataFrame:
    """Measure objects, in the units of their layer.

    Parameters
    ----------
    objects : Labels
        A layer of numbered objects.
    image : Image, optional
        The image of the same pixels, for intensities.
    classes : Labels, optional
        The segmentation of the same pixels, for the class of each object.
    volume : bool
        True measures objects in 3-D, a row for each, not for each of its planes.
    table_file : Path, optional
        New CSV file for the table; .csv is added to a name without suffix.

    Returns
    -------
    pandas.DataFrame
        One row per object, as `napari_dsparse.measure` gives it, with the name of the image, or else of the
        objects' layer (``image``), the names of classes where their layer knows them (``class name``) and the
        unit of lengths (``unit``).

    Raises
    ------
    LabelsError, ImageError
        If the layers do not lie on the same pixels.
    ExportError
        If the file exists or cannot be written.
    """
    from napari_dsparse.prediction.measurement_table import measurement_table

    numbers = snapshot(objects)
    known = None if classes is None else snapshot(classes)
    frame = None if image is None else frame_for_labels(image, numbers.shape, objects.name)
    axes = (range(numbers.ndim) if frame is None else frame.spatial_axes)[-3 if volume else -2 :]
    file = None if table_file is None else new_file(table_file, "the table", ".csv")
    table = measurement_table(
        numbers if frame is None else frame.engine_view(numbers),
        None if frame is None else frame.source.data,
        classes=known if frame is None or known is None else frame.engine_view(known),
        names=() if classes is None else class_names(classes),
        scale=[float(objects.scale[axis]) for axis in axes],
        units=[str(objects.units[axis]) for axis in axes],
        image_name=objects.name if image is None else image.name,
        channel_axis=None if frame is None else frame.source.channel_axis,
        volume=volume,
    )
    if file is not None:
        with complete_or_absent(file) as partial:
            table.to_csv(partial, index=False)
    return table


def export_layer(layer: Labels, file: Path) -> Path:
    """Write a labels layer for other programs, with scale, units, and names and colours of classes.

    Parameters
    ----------
    layer : Labels
        The labels to write.
    file : Path
        New file: .ome.tif (OME-TIFF), .ome.zarr (OME-Zarr), .png (one plane, indexed colours), .geojson
        (QuPath), .roi.zip (ImageJ) or .coco.json (COCO, one plane). .ome.tif is added to a name without
        suffix. The last three hold connected regions of each class, or, of a layer that names no classes,
        what each number stands for.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ExportError
        If the file exists, its suffix is not known, or the format cannot hold the layer.
    """
    from napari_dsparse.files.export import export_labels, takes_objects

    new = new_file(file, "the labels", ".ome.tif")
    data = snapshot(layer)
    attributes = {"features": layer.features, "colormap": layer.colormap}
    return export_labels(
        new,
        data,
        classes=classes_of_attributes(attributes, data, named_only=takes_objects(new)),
        scale=tuple(float(step) for step in layer.scale),
        units=tuple(str(unit) for unit in layer.units),
        axes=axis_letters([str(label) for label in layer.axis_labels]),
    )
