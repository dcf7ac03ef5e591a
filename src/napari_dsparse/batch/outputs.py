"""Output paths: chosen, and refused, before anything is computed."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import try_target
from napari_dsparse.files.export import LABELS_ONLY, SUFFIXES
from napari_dsparse.files.parts import bytes_of_parts
from napari_dsparse.prediction import label_dtype

#: What image names may end in, beside our own suffixes: removed to name the results.
_IMAGE_SUFFIXES = (*(s for group in SUFFIXES.values() for s in group), ".jpg", ".jpeg", ".bmp", ".npy")

#: Suffixes of files that we do not write; other dots in a folder's name are no suffixes.
_OTHER_SUFFIXES = (
    *(".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jp2", ".svg", ".pdf"),
    *(".npy", ".npz", ".h5", ".hdf5", ".mat", ".nii", ".gz", ".csv", ".txt"),
    *(".czi", ".nd2", ".lif", ".lsm", ".svs", ".ndpi", ".mrc", ".safetensors"),
)

#: What a folder's name may end in.
_SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)

#: Bytes of a name at most, on nearly every system.
_USUAL_NAME = 255

#: Room that results take at least, as a share of their pixels' bytes: labels are compressed, maps hardly.
#: While they are written, what was computed lies beside them, not compressed at all.
_LEAST_OF_LABELS, _LEAST_OF_MAPS = 1.01, 1.25


@dataclass(frozen=True, slots=True)
class Outputs:
    """Final paths of the results for one image; None = not requested.

    Labels always have a name, from which that of unfinished work is made; `with_labels` says whether they are
    to be written.
    """

    labels: Path
    probabilities: Path | None = None
    uncertainty: Path | None = None
    objects: Path | None = None
    measurements: Path | None = None
    with_labels: bool = True

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths."""
        return tuple(path for path in (*self.images.values(), self.measurements) if path is not None)

    @property
    def long_name(self) -> str | None:
        """The name of a result that is longer than its folder takes; None if there is none."""
        most = _longest_name(self.labels.parent)
        return next((path.name for path in self.paths if len(os.fsencode(path.name)) > most), None)

    @property
    def images(self) -> dict[str, Path]:
        """Paths of what has pixels or regions, by the name of the result."""
        named = {
            "labels": self.labels if self.with_labels else None,
            "probabilities": self.probabilities,
            "uncertainty": self.uncertainty,
            "objects": self.objects,
        }
        return {name: path for name, path in named.items() if path is not None}


def plan_outputs(
    images: Sequence[Path],
    output: str,
    chosen_format: str | None,
    *,
    probabilities: bool,
    uncertainty: bool,
    objects: bool = False,
    measurements: bool = False,
    labels: bool = True,
) -> tuple[Outputs, ...]:
    """Names of the results, one entry per image.

    `output` is a file where it ends in a suffix we write, and a folder otherwise, or where it ends in a slash
    or such a folder exists. In a folder the labels of ``cells.tif`` are called ``cells_segmentation`` and the
    suffix of the format. Maps have the format of the labels, or OME-TIFF where that holds labels only; so
    have objects, unless it is PNG, which counts to 255. Measurements are CSV.

    Raises
    ------
    ExportError
        If `output` is one file for several images, has another suffix than the format, or two images would
        be written under one name.
    """
    folder = Path(output)
    is_folder = output.endswith(_SEPARATORS) or (folder.is_dir() and _format_of(folder) != "ome-zarr")
    named = None if is_folder else _format_of(folder)
    if not is_folder and named is None and folder.suffix.lower() in _OTHER_SUFFIXES:
        raise ExportError(
            f"Output {output} ends in {folder.suffix!r}, which we do not write; give a folder or a file in "
            f"{', '.join(group[0] for group in SUFFIXES.values())}."
        )
    if named is None:
        suffix = SUFFIXES[chosen_format or "ome-tiff"][0]
        bases = [folder / stem_of(image) for image in images]
        named_labels = [base.with_name(f"{base.name}_segmentation{suffix}") for base in bases]
    else:
        if chosen_format not in (None, named):
            raise ExportError(
                f"Output {output} is {named} by its name, not {chosen_format}; drop one of the two."
            )
        if len(images) > 1:
            raise ExportError(f"{len(images)} images cannot go into the one file {output}; name a folder.")
        bases = [folder.with_name(stem_of(folder))]
        named_labels = [folder]
    chosen = named or chosen_format or "ome-tiff"
    maps = SUFFIXES["ome-tiff" if chosen in LABELS_ONLY else chosen][0]
    numbered = SUFFIXES["ome-tiff" if chosen == "png" else chosen][0]
    planned = tuple(
        Outputs(
            label,
            base.with_name(f"{base.name}_probabilities{maps}") if probabilities else None,
            base.with_name(f"{base.name}_uncertainty{maps}") if uncertainty else None,
            base.with_name(f"{base.name}_objects{numbered}") if objects else None,
            base.with_name(f"{base.name}_measurements.csv") if measurements else None,
            labels,
        )
        for base, label in zip(bases, named_labels, strict=True)
    )
    _check_distinct(images, planned)
    return planned


def _check_distinct(images: Sequence[Path], planned: Sequence[Outputs]) -> None:
    """Refuse two images whose results would have one name."""
    first: dict[Path, Path] = {}
    for image, outputs in zip(images, planned, strict=True):
        for path in outputs.paths:
            other = first.setdefault(path, image)
            if other is not image and other == image:
                raise ExportError(f"Image {image} is given twice; give it once.")
            if other is not image:
                raise ExportError(
                    f"Two results would both be called {path}, of {other} and {image}; rename one of the two "
                    "images or segment them apart."
                )


def check_writable(
    outputs: Sequence[Path],
    inputs: Sequence[Path],
    *,
    overwrite: bool,
    make_parents: bool = False,
    allow: str = "pass --overwrite",
) -> None:
    """Refuse, before anything is computed, what would be refused at the end.

    `allow` says what allows a file to be replaced.

    Raises
    ------
    ExportError
        If an output exists and `overwrite` is not given, if it is one of the inputs or a folder that holds
        one, if there is no folder to write it to, or the system refuses its name.
    """
    read = {path.resolve() for path in inputs}
    for path in outputs:
        resolved = path.resolve()
        if resolved in read:
            raise ExportError(f"Output {path} is one of the inputs; choose another name.")
        within = next((one for one in read if resolved in one.parents), None)
        if within is not None:  # replaced as a folder, it would take the input along
            raise ExportError(f"Output {path} holds {within}, one of the inputs; choose another name.")
        if os.path.lexists(path) and not overwrite:
            raise ExportError(f"Output {path} exists; choose another name or {allow}.")
        if not make_parents and not path.parent.is_dir():
            raise ExportError(f"Folder {path.parent} does not exist; make it or choose another one.")
        try_target(path)


def check_names(outputs: Outputs) -> None:
    """Refuse results of one image whose names are too long, among others whose names are not.

    Raises
    ------
    ExportError
        If one is.
    """
    if outputs.long_name is not None:
        raise ExportError(
            f"The name {outputs.long_name!r} of a result is longer than {outputs.labels.parent} takes; "
            "rename the image, or segment it by itself into a file of a shorter name."
        )


@contextmanager
def used_folders(outputs: Sequence[Path]) -> Iterator[None]:
    """At its end, folders of `outputs` that were made within are removed again if nothing is in them."""
    made: set[Path] = set()
    for folder in {path.parent for path in outputs}:
        while not os.path.lexists(folder):
            made.add(folder)
            folder = folder.parent
    try:
        yield
    finally:
        for folder in sorted(made, reverse=True):  # what lies in a folder comes before it
            with suppress(OSError):  # it holds something, or was never made
                folder.rmdir()


def check_room(outputs: Outputs, shape: Sequence[int], classes: int) -> None:
    """Refuse results for which there is no room, before they are computed.

    Parameters
    ----------
    outputs : Outputs
    shape : sequence of int
        Of the image, without channels.
    classes : int

    Raises
    ------
    ExportError
        If less is free than they take, on the way to their names, even if they compress well.
    """
    pixels = math.prod(shape)
    maps = (classes if outputs.probabilities is not None else 0) + (outputs.uncertainty is not None)
    label_bytes = np.dtype(label_dtype(classes)).itemsize
    least = _LEAST_OF_LABELS * pixels * label_bytes + _LEAST_OF_MAPS * 4 * pixels * maps
    there = _existing(outputs.labels.parent)
    free = shutil.disk_usage(there).free + bytes_of_parts(outputs.labels)
    if free < least:
        raise ExportError(
            f"There are {free / 1e9:.3g} GB free for {outputs.labels} and results of {least / 1e9:.3g} GB or "
            "more; free space or choose another folder."
        )


def _longest_name(folder: Path) -> int:
    """Bytes of a name in a folder, or in the one that it will be made in."""
    try:
        return os.pathconf(_existing(folder), "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):  # a system that does not tell
        return _USUAL_NAME


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _format_of(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if name.endswith(suffixes)), None)


def stem_of(path: Path) -> str:
    """The name without its suffix, of which ``.ome.tif`` is one."""
    suffix = next((s for s in _IMAGE_SUFFIXES if path.name.lower().endswith(s)), path.suffix)
    return path.name[: len(path.name) - len(suffix)] or path.name
