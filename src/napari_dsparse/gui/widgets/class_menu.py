"""Menus of edits of the class table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtWidgets import QMenu

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.widgets.swatch import swatch


def fill_merge_menu(
    menu: QMenu, classes: Sequence[ClassInfo], number: int, merge: Callable[[int], None]
) -> None:
    """Offer every other class to merge class `number` into; `merge` takes the one chosen."""
    menu.clear()
    for other, info in enumerate(classes, start=1):
        if other != number:
            action = menu.addAction(swatch(info.color), info.name.replace("&", "&&"))
            action.triggered.connect(lambda _=False, other=other: merge(other))


def fill_class_menu(menu: QMenu, actions: Mapping[str, Callable[[], object] | None]) -> None:
    """Offer `actions` by their titles, None where one is not possible now; "-" is a line."""
    menu.clear()
    for title, act in actions.items():
        if title.startswith("-"):
            menu.addSeparator()
            continue
        action = menu.addAction(title.replace("&", "&&"))
        action.setEnabled(act is not None)
        if act is not None:
            action.triggered.connect(lambda _=False, act=act: act())
