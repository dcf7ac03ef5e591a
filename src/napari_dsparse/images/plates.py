"""Plates of OME-Zarr: the images, which are called fields, of their wells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_dsparse.errors import ImageError
from napari_dsparse.images.zarr_extra import import_zarr
from napari_dsparse.images.zarr_file import is_store, ome_attributes

#: What a store raises that is damaged.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate.

    Parameters
    ----------
    path : Path
    wells : mapping of str to tuple of Path
        Fields by well, such as "B/3", in the order of the plate.
    unread : tuple of str
        Wells that the plate names and that are not there, or name no images.
    """

    path: Path
    wells: Mapping[str, tuple[Path, ...]]
    unread: tuple[str, ...] = ()


def read_plate(path: Path) -> Plate | None:
    """The wells of a plate; None if the path is no plate, or cannot be read at all.

    Only the descriptions are read, one for each well.

    Raises
    ------
    ImageError
        If zarr is not installed.
    """
    if not is_store(path):
        return None
    zarr = import_zarr(ImageError)
    try:
        names = [str(well["path"]) for well in _plate_in(zarr.open_group(str(path), mode="r"))["wells"]]
    except _DAMAGE:
        return None
    wells: dict[str, tuple[Path, ...]] = {}
    unread: list[str] = []
    for name in names:
        try:
            # (a name that leads out of the plate is none of its wells)
            group = zarr.open_group(str(_inside(path, name)), mode="r")
            images = ome_attributes(group)["well"]["images"]
            fields = tuple(_inside(path, f"{name}/{image['path']}") for image in images)
        except _DAMAGE:
            fields = ()
        if fields:
            wells[name] = fields
        else:
            unread.append(name)
    return Plate(path, wells, tuple(unread)) if names else None


def name_within(path: Path) -> str:
    """Name of an image by its file; of one in a Zarr store, from the store on: "plate.zarr/B/3/0"."""
    parts = path.parts
    store = next((n for n, part in enumerate(parts) if part.lower().endswith(".zarr")), len(parts) - 1)
    return "/".join(parts[store:])


def _plate_in(group: object) -> Mapping[str, list[Mapping[str, object]]]:
    plate = ome_attributes(group)["plate"]
    if not isinstance(plate, Mapping):
        raise TypeError("a plate is described by names and values")
    return plate


def _inside(folder: Path, name: str) -> Path:
    parts = name.split("/")
    if not all(parts) or any(part in (".", "..") or "\\" in part or "\0" in part for part in parts):
        raise ValueError(f"{name!r} is no name of a part of the store")
    return folder.joinpath(*parts)
