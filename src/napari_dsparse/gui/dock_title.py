"""A title of the dock that can be read: napari composes one of widget and plugin, wider than the dock."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QDockWidget, QLabel

TITLE = "Sparse-label segmentation"


class DockTitle(QObject):
    """Keeps the title of a dock short, also when napari draws it anew.

    Parameters
    ----------
    dock : QDockWidget
    """

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        dock.setWindowTitle(TITLE)  # of its tab, and of its window when it floats
        dock.topLevelChanged.connect(self._write)
        dock.dockLocationChanged.connect(self._write)
        self._write()

    def _write(self, change: Any = None) -> None:
        bar = self._dock.titleBarWidget()
        for label in [] if bar is None else bar.findChildren(QLabel):
            if label.text().startswith(TITLE):
                label.setText(TITLE)
