"""Export of results to files that other programs open, complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.axes import Axis, resolve_axes
from napari_dsparse.files.coco import check_label_coco, write_label_coco
from napari_dsparse.files.geojson import write_label_geojson
from napari_dsparse.files.imagej_roi import check_label_rois, write_label_rois
from napari_dsparse.files.indexed_png import check_label_png, write_label_png
from napari_dsparse.files.ome_tiff import write_intensity_tiff, write_label_tiff
from napari_dsparse.files.ome_zarr import (
    check_zarr,
    write_intensity_zarr,
    write_label_zarr,
    write_object_zarr,
)
from napari_dsparse.files.pixels import ArrayIndex, Pixels, intensity_pixels, label_pixels
from napari_dsparse.files.regions import LabelledImage
from napari_dsparse.images.zarr_file import is_store

#: Suffixes of the formats, the usual one first.
SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ome-tiff": (".ome.tif", ".ome.tiff", ".tif", ".tiff"),
        "ome-zarr": (".ome.zarr", ".zarr"),
        "png": (".png",),
        "geojson": (".geojson",),
        "imagej-roi": (".roi.zip", ".zip"),
        "coco": (".coco.json", ".json"),
    }
)

_LABEL_WRITERS = {"ome-tiff": write_label_tiff, "ome-zarr": write_label_zarr, "png": write_label_png}

#: Writers of formats that hold regions one by one, not pixels.
_REGION_WRITERS = {"geojson": write_label_geojson, "imagej-roi": write_label_rois, "coco": write_label_coco}
_INTENSITY_WRITERS = {"ome-tiff": write_intensity_tiff, "ome-zarr": write_intensity_zarr}
_ALL_LABEL_WRITERS: Mapping[str, object] = {**_LABEL_WRITERS, **_REGION_WRITERS}

#: Formats of labels that hold no measured values.
LABELS_ONLY = frozenset(SUFFIXES) - set(_INTENSITY_WRITERS)
#: Formats that hold regions one by one, and so objects together with their classes.
OF_REGIONS = frozenset(_REGION_WRITERS)
#: Formats that hold objects together with their classes.
_OBJECT_WRITERS = {**_REGION_WRITERS, "ome-zarr": write_object_zarr}


def takes_objects(path: str | os.PathLike[str]) -> bool:
    """True if the suffix is of a format of regions, which holds objects together with their classes."""
    return _format_by_suffix(Path(path)) in OF_REGIONS


def takes_classes_of_objects(path: str | os.PathLike[str]) -> bool:
    """True if the suffix is of a format that holds objects together with their classes."""
    return _format_by_suffix(Path(path)) in _OBJECT_WRITERS


def export_labels(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    classes: Sequence[ClassInfo],
    objects: Any = None,
    image_name: str | None = None,
    scale: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    axes: str | None = None,
    overwrite: bool = False,
    format: str | None = None,
) -> Path:
    """Write a label image, in the format of its suffix.

    The formats of regions hold every class, the background too, and one region per set of pixels of a class
    that touch, if only at corners; with `objects` they hold these instead, each with its class. They are made
    plane by plane, each plane in memory as a whole, and say nothing of the pixel size: their coordinates are
    pixels.

    Parameters
    ----------
    path : path-like
        ``.ome.tif``, ``.ome.tiff``, ``.tif``, ``.tiff``: OME-TIFF with pixel size, units and class names;
        ``.ome.zarr``, ``.zarr``: OME-Zarr 0.5 with the same and a pyramid (needs the extra ``zarr``);
        ``.png``: one plane in the classes' colours, whose pixel values are the labels.
        ``.geojson``: polygons for QuPath, exact to the pixel, holes and all;
        ``.roi.zip``, ``.zip``: the same for the ROI Manager of ImageJ and Fiji;
        ``.coco.json``, ``.json``: COCO, one plane, masks as run lengths.
    labels : array of booleans or integers, shape (Y, X), (Z, Y, X), (T, Y, X) or (T, Z, Y, X)
        Numpy, dask or zarr. uint8, uint16 and uint32 are written as they are, other integers as the smallest
        unsigned type that holds them.
    classes : sequence of ClassInfo
        Class number i + 1 is entry i. If there are none, labels are numbered objects of no class.
    objects : array of integers, same shape, optional
        Numbers of objects, as `Model.objects` gives them; for the formats of regions and OME-Zarr, which hold
        these instead, each with its class.
    image_name : str, optional
        File name of the image, which COCO keeps.
    scale : sequence of float, optional
        Size of a pixel along each axis of `labels`.
    units : sequence of str, optional
        Unit of each axis: "micrometer", "second", ... or "pixel" where it is not known.
    axes : str, optional
        A letter per axis, such as "ZYX".
    overwrite : bool
        True if an existing file may be replaced.
    format : str, optional
        "ome-tiff", "ome-zarr", "png", "geojson", "imagej-roi" or "coco", for a name that does not say it.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    ExportError
        If the labels are not whole numbers from 0, the format cannot hold them, the suffix is not known, the
        file exists, or it cannot be written. Nothing is left under that name then.
    """
    final = Path(path)
    found = _find_format(final, format, _ALL_LABEL_WRITERS)
    if objects is not None and found not in _OBJECT_WRITERS:
        raise ExportError(
            f"{str(final)!r} is {found}, which holds labels or objects, not both; "
            "export the objects as labels."
        )
    pixels = label_pixels(labels)
    resolved = resolve_axes(pixels.shape, axes=axes, scale=scale, units=units)
    _check_replaceable(final, overwrite)
    image = LabelledImage(
        pixels, resolved, classes, None if objects is None else label_pixels(objects), image_name
    )
    with complete_or_absent(final, overwrite=overwrite) as partial:
        if found in OF_REGIONS or objects is not None:
            _OBJECT_WRITERS[found](partial, image)
        else:
            _LABEL_WRITERS[found](partial, pixels, resolved, classes)
    return final


def export_array(
    path: str | os.PathLike[str],
    array: Any,
    *,
    name: str,
    channels: Sequence[ClassInfo] = (),
    scale: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    axes: str | None = None,
    overwrite: bool = False,
    format: str | None = None,
) -> Path:
    """Write probabilities or uncertainty, as float32.

    Parameters
    ----------
    path : path-like
        OME-TIFF or OME-Zarr, by its suffix as in `export_labels`.
    array : array of numbers, shape (..., Y, X), or (K, ..., Y, X) with `channels`
        Numpy, dask or zarr.
    name : str
        What the values are: "uncertainty", "probability".
    channels : sequence of ClassInfo, optional
        One for each entry of the first axis, which then holds channels.
    scale, units, axes
        As in `export_labels`, without an entry for the channels.
    overwrite, format
        As in `export_labels`.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    ExportError
        As in `export_labels`, or if there are not as many channels as the first axis is long.
    """
    final = Path(path)
    writer = _INTENSITY_WRITERS[_find_format(final, format, _INTENSITY_WRITERS)]
    pixels = intensity_pixels(array)
    if channels and pixels.shape[0] != len(channels):
        raise ExportError(
            f"An array of shape {pixels.shape} came with {len(channels)} channels; give one a first entry."
        )
    spatial = pixels.shape[1:] if channels else pixels.shape
    resolved = resolve_axes(spatial, axes=axes, scale=scale, units=units)
    if channels:
        pixels, resolved = _place_channels(pixels, resolved)
    _check_replaceable(final, overwrite)
    with complete_or_absent(final, overwrite=overwrite) as partial:
        writer(partial, pixels, resolved, name, channels)
    return final


def check_export(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    *,
    channels: int = 0,
    scale: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    axes: str | None = None,
) -> None:
    """Refuse, before anything is computed, what `export_labels` or `export_array` would refuse after.

    Parameters
    ----------
    path : path-like
        Whose suffix says the format.
    shape : sequence of int
        Of the array, without channels.
    channels : int
        0 for labels.
    scale, units, axes
        As in `export_labels`.

    Raises
    ------
    ExportError
        If the format cannot hold such an array, or what writes it is not installed.
    """
    final = Path(path)
    format = _find_format(final, None, _INTENSITY_WRITERS if channels else _ALL_LABEL_WRITERS)
    resolved = resolve_axes(shape, axes=axes, scale=scale, units=units)
    if format == "png":
        check_label_png(shape, 0)
    if format == "imagej-roi":
        check_label_rois(shape)
    if format == "coco":
        check_label_coco(shape)
    if format == "ome-zarr":
        check_zarr(resolved)


class _TimeFirst:
    """An array (C, T, ...) read as (T, C, ...), one plane at a time."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape = (data.shape[1], data.shape[0], *data.shape[2:])

    def __getitem__(self, window: ArrayIndex) -> Any:
        time, channel, *rest = window
        return self._data[(channel, time, *rest)]


def _place_channels(pixels: Pixels, axes: tuple[Axis, ...]) -> tuple[Pixels, tuple[Axis, ...]]:
    """Put the channels, which come first, where formats want them: behind time, in front of space."""
    if axes[0].letter == "T":
        return Pixels(_TimeFirst(pixels.data), pixels.dtype), (axes[0], Axis("C"), *axes[1:])
    return pixels, (Axis("C"), *axes)


def _format_by_suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((each for each, suffixes in SUFFIXES.items() if name.endswith(suffixes)), None)


def _find_format(path: Path, format: str | None, able: Mapping[str, object]) -> str:
    """The format given by the caller or by the suffix, if it can hold the result."""
    by_suffix = _format_by_suffix(path)
    found = format or by_suffix
    if found is None or found not in able:
        allowed = ", ".join(f"{each} ({SUFFIXES[each][0]})" for each in able)
        raise ExportError(
            f"{str(path)!r} cannot be written as {found or 'its name says'}; choose one of {allowed}."
        )
    if by_suffix not in (None, found):
        raise ExportError(
            f"{str(path)!r} has the suffix of {by_suffix} but {found} is asked for; use {SUFFIXES[found][0]}."
        )
    return found


def _check_replaceable(path: Path, overwrite: bool) -> None:
    """Refuse to replace a folder that is not a Zarr store, whatever is allowed: it holds somebody's files."""
    if overwrite and path.is_dir() and not is_store(path):
        raise ExportError(
            f"The folder {str(path)!r} is not a Zarr store and is not replaced; choose another name."
        )
