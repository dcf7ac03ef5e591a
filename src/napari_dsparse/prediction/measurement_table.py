"""Tables of objects as they are shown and saved: measurements beside names of image, classes and unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from napari_dsparse.images.units import find_unit, in_one_unit, is_pixel
from napari_dsparse.prediction.measurements import measure

if TYPE_CHECKING:
    import pandas as pd


def measurement_table(
    objects: Any,
    image: Any = None,
    *,
    classes: Any = None,
    names: Sequence[str] = (),
    scale: Sequence[float] | None = None,
    units: Sequence[str] = (),
    image_name: str | None = None,
    channel_axis: int | Literal["auto"] | None = "auto",
    volume: bool = False,
    stop: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Measure objects as `measure` does, and name what their numbers stand for.

    Parameters
    ----------
    objects, image, classes, scale, channel_axis, volume, stop
        As in `measure`.
    names : sequence of str
        Names of classes 1, 2, ...; they become the column ``class name``.
    units : sequence of str
        Unit of each axis that is measured: rows and columns, with `volume` planes before them. They become
        the column ``unit``, the last one.
    image_name : str, optional
        It becomes the column ``image``, the first one.

    Returns
    -------
    pandas.DataFrame
    """
    units = [str(unit) for unit in units]
    if scale is not None and len(scale) == len(units):
        scale, units = in_one_unit(scale, units)  # a plane apart by 500 nm, of pixels of 0.1 µm
    table = measure(
        objects, image, classes=classes, scale=scale, channel_axis=channel_axis, volume=volume, stop=stop
    )
    if classes is not None and names:
        known = dict(enumerate(names, start=1))
        table.insert(2, "class name", [known.get(number, "") for number in table["class"]])
    if image_name is not None:
        table.insert(0, "image", image_name)
    table["unit"] = " and ".join(dict.fromkeys(units))
    return table


#: Powers of the unit in which columns are measured, by the start of their names; no others have a unit.
_POWERS = {
    "area": 2,
    "volume": 3,
    "centroid": 1,
    "perimeter": 1,
    "equivalent_diameter": 1,
    "axis_": 1,
}


def column_titles(names: Sequence[str], unit: str) -> list[str]:
    """Titles of a table's columns with the symbols of their units, such as "area (µm²)".

    Parameters
    ----------
    names : sequence of str
        Names of columns, as `measurement_table` gives them.
    unit : str
        Unit of lengths: "micrometer", "pixel".
    """
    known = find_unit(unit)
    symbol = "px" if is_pixel(unit) else unit if known is None else known.symbol
    if " " in symbol:
        symbol = f"({symbol})"
    return [_title(name, symbol) for name in names]


def _title(name: str, symbol: str) -> str:
    words = name.replace("_", " ")
    if name == "orientation":
        return f"{words} (rad)"
    power = next((power for start, power in _POWERS.items() if name.startswith(start)), 0)
    return f"{words} ({symbol}{('', '', '²', '³')[power]})" if power else words
