"""The optional zarr package, imported when a Zarr file is opened."""

from __future__ import annotations

import importlib
from types import ModuleType

from napari_dsparse.errors import DsparseError


def import_zarr(error: type[DsparseError]) -> ModuleType:
    """The zarr package (version 3 or later).

    Raises
    ------
    DsparseError
        As the class given, if the package is not installed or too old.
    """
    advice = "install it with: pip install 'napari-dsparse[zarr]'."
    try:
        zarr = importlib.import_module("zarr")
    except ImportError as missing:
        raise error(f"Zarr files need the package zarr, which is not installed; {advice}") from missing
    if int(zarr.__version__.split(".")[0]) < 3:
        raise error(
            f"Zarr files need the package zarr 3 or later, and {zarr.__version__} is installed; {advice}"
        )
    return zarr
