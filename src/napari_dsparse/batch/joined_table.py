"""One table of the objects of all images, made of the tables of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import complete_or_absent


def join_tables(tables: Iterable[Path], path: Path, *, overwrite: bool = False) -> int:
    """Write the rows of several tables of measurements one below the other; returns their number.

    Numbers keep their digits. Where images have different channels, a column that an image lacks is empty.

    Parameters
    ----------
    tables : iterable of Path
        CSV files as measuring writes them, in the wanted order; each is read whole.
    path : Path
        CSV file to write.
    overwrite : bool
        True allows `path` to be replaced.

    Raises
    ------
    ExportError
        If a table cannot be read, there is none, or `path` exists or cannot be written.
    """
    import pandas as pd  # takes long to import, and most batches measure nothing

    parts = []
    for each in tables:
        try:
            parts.append(pd.read_csv(each, dtype=str, keep_default_na=False))
        except (OSError, ValueError) as error:
            raise ExportError(f"Measurements {each} cannot be read: {error}") from error
    if not parts:
        raise ExportError(f"No image has been measured; there is nothing to write to {path}.")
    joined = pd.concat(parts, ignore_index=True)
    if "unit" in joined:
        joined["unit"] = joined.pop("unit")  # the last column, as in every one of them
    with complete_or_absent(path, overwrite=overwrite) as partial:
        joined.to_csv(partial, index=False)
    return len(joined)
