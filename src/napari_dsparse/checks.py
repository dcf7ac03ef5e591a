"""Arguments checked where they come in: one sentence says what was given and what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from napari_dsparse.errors import DsparseError

#: The largest seed: what a model file keeps.
LARGEST_SEED = 2**63 - 1


def whole_number(name: str, value: Any, least: int = 0, most: int = LARGEST_SEED) -> int:
    """`value` as an int.

    Raises
    ------
    DsparseError
        If it is not a whole number (a truth value is none) from `least` to `most`.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most:
        return int(value)
    raise DsparseError(f"{name} is {_shown(value)}; give a whole number from {least} to {_power(most)}.")


def whole_number_each(name: str, value: Any, count: int) -> list[int | None]:
    """`value`, one whole number for all or one for each of `count` things; None where none is given.

    Raises
    ------
    DsparseError
        If it is another number of them, or one is no whole number.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        value = [value] * count
    if len(value) != count:
        raise DsparseError(f"{name} is {_shown(value)}; give one number, or {count}.")
    return [None if each is None else whole_number(name, each) for each in value]


def duration(name: str, value: Any) -> float:
    """`value`, in seconds, as a float.

    Raises
    ------
    DsparseError
        If it is not a finite number of at least 0.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        seconds = float(value)
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    raise DsparseError(f"{name} is {_shown(value)}; give a number of seconds from 0, or None for no limit.")


def text(name: str, value: Any) -> str:
    """`value`, which can be written to any file.

    Raises
    ------
    DsparseError
        If it is not a text, is empty, or holds what is no character.
    """
    if not isinstance(value, str):
        raise DsparseError(f"{name} is {_shown(value)}; give a text.")
    if not value.strip() or any(not c.isprintable() for c in value):
        raise DsparseError(f"{name} is {_shown(value)}; give a text of printable characters.")
    return value


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    """`value`, which is one of the words that are allowed.

    Raises
    ------
    DsparseError
        If it is another.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise DsparseError(f"{name} is {_shown(value)}; choose one of {', '.join(allowed)}.")


def truth(name: str, value: Any) -> bool:
    """`value` as a bool.

    Raises
    ------
    DsparseError
        If it is neither true nor false.
    """
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise DsparseError(f"{name} is {_shown(value)}; give True or False.")


def function(name: str, value: Any) -> None:
    """Refuse what cannot be called; None is no function, and allowed.

    Raises
    ------
    DsparseError
        If it is neither.
    """
    if value is not None and not callable(value):
        raise DsparseError(f"{name} is {_shown(value)}; give a function, or None.")


def path(name: str, value: Any) -> Path:
    """`value` as a path.

    Raises
    ------
    DsparseError
        If it is no path, is empty, or holds a NUL, which no file's name may.
    """
    try:
        given = os.fspath(value)
    except TypeError:
        given = None
    if not isinstance(given, str) or not given or "\0" in given:
        raise DsparseError(f"{name} is {_shown(value)}; give the name of a file.")
    return Path(given)


def paths(name: str, value: Any) -> list[Path]:
    """`value`, one path or several, as paths.

    Raises
    ------
    DsparseError
        If one of them is none.
    """
    is_one = isinstance(value, str | os.PathLike) or not isinstance(value, Iterable)
    return [path(name, each) for each in ([value] if is_one else value)]


def is_pipe(path: Path | str) -> bool:
    """True for what is there and neither a file nor a folder: to open a pipe is to wait for its other end."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _shown(value: Any) -> str:
    """A value as it is written, briefly and in one line."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _power(most: int) -> str:
    return "2**63 - 1" if most == LARGEST_SEED else str(most)
