"""Holds the session and says when it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_dsparse.gui.session import Session


class SessionStore(QObject):
    """The one place where a session is replaced.

    Parameters
    ----------
    parent : QObject
    """

    #: The new `Session`; whoever shows it compares with the one before.
    changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.now = Session()

    def set(self, **changes: Any) -> None:
        """Replace some fields; nothing is said if nothing changes."""
        changed = replace(self.now, **changes)
        if changed != self.now:
            self.now = changed
            self.changed.emit(changed)
