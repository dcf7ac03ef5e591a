"""A key of the canvas that acts while it is held."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QGuiApplication

from napari_dsparse.gui.layers.viewer import unwrapped

if TYPE_CHECKING:
    from napari import Viewer

#: Keys to choose from, the first that nothing else uses.
CANDIDATES = ("H", "J", "K", "N", "U")


class HoldKey(QObject):
    """Takes a free key in a viewer, and tells when it is pressed and let go.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    #: True when the key goes down, False when it comes up or the window is left.
    held = Signal(bool)

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        #: The key; None if all candidates are in use.
        self.key = free_key(viewer)
        if self.key is not None:
            viewer.bind_key(self.key, _holder(weakref.ref(self)))
            application = QGuiApplication.instance()
            if isinstance(application, QGuiApplication):
                application.focusWindowChanged.connect(self._on_window)

    def free(self) -> None:
        """Give the key back."""
        if self.key is not None:
            self._viewer.bind_key(self.key, None)
            self.key = None
            application = QGuiApplication.instance()
            if isinstance(application, QGuiApplication):
                application.focusWindowChanged.disconnect(self._on_window)

    def _on_window(self, window: Any = None) -> None:
        self.held.emit(False)  # a key that comes up in another window is not seen here


def free_key(viewer: Viewer) -> str | None:
    """The first candidate that neither napari, nor the user, nor another plugin has bound."""
    from napari.layers import Image, Labels
    from napari.utils.key_bindings import USER_KEYMAP

    model = unwrapped(viewer)
    keymaps: list[Any] = [USER_KEYMAP, model.keymap]
    for kind in (type(model), Labels, Image):
        keymaps += [base.class_keymap for base in kind.__mro__ if hasattr(base, "class_keymap")]
    used = {str(key).upper() for keymap in keymaps for key in keymap}
    return next((key for key in CANDIDATES if key not in used), None)


def _holder(key: weakref.ref[HoldKey]) -> Callable[[Any], Iterator[None]]:
    def hide_overlay(viewer: Any) -> Iterator[None]:
        _tell(key, True)
        yield
        _tell(key, False)

    return hide_overlay


def _tell(key: weakref.ref[HoldKey], held: bool) -> None:
    present = key()  # napari keeps the function until the key is pressed again
    if present is not None:
        present.held.emit(held)
