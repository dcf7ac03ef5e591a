"""Checked reading of JSON from untrusted files, field by field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from napari_dsparse.errors import DsparseError


@dataclass(frozen=True, slots=True)
class Document:
    """A file with a JSON description, as messages name it.

    Parameters
    ----------
    title : str
        Kind and name: "Model file 'cells.safetensors'".
    error : type
        Class of the errors about it.
    remedy : str
        Advice where it is damaged: "save the model again".
    """

    title: str
    error: type[DsparseError]
    remedy: str


class Fields:
    """The fields of a JSON object; one that is missing or wrong is named in one sentence.

    Parameters
    ----------
    values : mapping
        The parsed object.
    document : Document
        The file that it comes from.
    within : str
        Path of the object in the file, "" for the outermost.
    """

    def __init__(self, values: Mapping[str, Any], document: Document, within: str = "") -> None:
        self._values = values
        self._document = document
        self._within = within

    @classmethod
    def parse(cls, text: str, document: Document) -> Fields:
        """Parse the outermost object."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise document.error(
                f"{document.title} has a description that is not JSON; it is damaged, {document.remedy}."
            ) from error
        return cls({"description": values}, document).inner("description")

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        allowed = f"a whole number from {low} to {high}"
        return int(self._checked(key, lambda value: type(value) is int and low <= value <= high, allowed))

    def whole_or_none(self, key: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`, or null."""
        return None if self._get(key) is None else self.whole(key, low, high)

    def wholes(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """A list of whole numbers from `low` to `high`."""
        check = _list_of(lambda value: type(value) is int and low <= value <= high)
        return tuple(self._checked(key, check, f"a list of whole numbers from {low} to {high}"))

    def number(self, key: str) -> float:
        """A finite number."""
        return float(self._checked(key, _is_number, "a finite number"))

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        return tuple(map(float, self._checked(key, _list_of(_is_number), "a list of finite numbers")))

    def numbers_or_none(self, key: str) -> tuple[float | None, ...]:
        """A list of finite numbers and nulls."""
        check = _list_of(lambda value: value is None or _is_number(value))
        values = self._checked(key, check, "a list of finite numbers and nulls")
        return tuple(None if value is None else float(value) for value in values)

    def text(self, key: str) -> str:
        """A string."""
        return str(self._checked(key, lambda value: isinstance(value, str), "a text"))

    def text_if_given(self, key: str) -> str | None:
        """A string, or None where the field is null or, as in files of older versions, not there."""
        return None if self._values.get(key) is None else self.text(key)

    def truth_if_given(self, key: str) -> bool:
        """True or false; false where the field is, as in files of older versions, not there."""
        if key not in self._values:
            return False
        return bool(self._checked(key, lambda value: isinstance(value, bool), "true or false"))

    def matching(self, key: str, pattern: re.Pattern[str], allowed: str) -> str:
        """A string that matches a pattern in full."""
        return str(
            self._checked(
                key, lambda value: isinstance(value, str) and bool(pattern.fullmatch(value)), allowed
            )
        )

    def matching_or_none(self, key: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """A string that matches a pattern in full, or null."""
        return None if self._get(key) is None else self.matching(key, pattern, f"{allowed}, or null")

    def texts(self, key: str) -> tuple[tuple[str, str], ...]:
        """An object of strings, as pairs."""
        allowed = "an object of texts"
        values = self._checked(key, lambda value: isinstance(value, dict), allowed)
        inner = Fields(values, self._document, self._path(key))
        return tuple((name, inner.text(name)) for name in values)

    def inner(self, key: str) -> Fields:
        """An object within this one."""
        value = self._checked(key, lambda value: isinstance(value, dict), "an object")
        return Fields(value, self._document, self._path(key))

    def each(self, key: str) -> tuple[Fields, ...]:
        """A list of objects."""
        values = self._checked(key, _list_of(lambda value: isinstance(value, dict)), "a list of objects")
        return tuple(
            Fields(value, self._document, f"{self._path(key)}[{i}]") for i, value in enumerate(values)
        )

    def each_if_given(self, key: str) -> tuple[Fields, ...]:
        """The same; none where the key is missing."""
        return self.each(key) if key in self._values else ()

    def refuse(self, key: str, allowed: str) -> NoReturn:
        """Raise the error for a field whose value is not allowed."""
        shown = repr(self._get(key))
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        raise self._document.error(
            f"{self._document.title} has {shown} for {self._path(key)!r}, which must be {allowed}; "
            f"it is damaged or not ours, {self._document.remedy}."
        )

    def _get(self, key: str) -> Any:
        if key not in self._values:
            raise self._document.error(
                f"{self._document.title} does not say {self._path(key)!r}; "
                f"it is damaged or not ours, {self._document.remedy}."
            )
        return self._values[key]

    def _checked(self, key: str, check: Callable[[Any], bool], allowed: str) -> Any:
        value = self._get(key)
        if not check(value):
            self.refuse(key, allowed)
        return value

    def _path(self, key: str) -> str:
        return f"{self._within}.{key}" if self._within else key


def _is_number(value: object) -> bool:
    """True if a JSON value is a number that a float can hold; Python's parser lets NaN and 1e999 pass."""
    if type(value) is int:
        return abs(value) < 2**1023
    return type(value) is float and math.isfinite(value)


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))
