"""A class's colour as a small icon."""

from __future__ import annotations

from qtpy.QtGui import QColor, QIcon, QPixmap


def swatch(color: str) -> QIcon:
    """A square of `color`, ``#rrggbb``."""
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor(color))
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected, QIcon.Mode.Disabled):
        icon.addPixmap(pixmap, mode)  # the colour itself, not tinted in the selected row
    return icon
