"""Small icons in a colour of choice: a class's, or the theme's."""

from __future__ import annotations

from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap, QPolygon


def swatch(color: str) -> QIcon:
    """A square of `color`, ``#rrggbb``."""
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor(color))
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected, QIcon.Mode.Disabled):
        icon.addPixmap(pixmap, mode)  # the colour itself, not tinted in the selected row
    return icon


def arrow(color: str, *, down: bool) -> QIcon:
    """A triangle that points down (what is under it is open) or to the right (folded away)."""
    pixmap = QPixmap(12, 12)
    pixmap.fill(Qt.GlobalColor.transparent)
    corners = ((1, 3), (11, 3), (6, 10)) if down else ((3, 1), (3, 11), (10, 6))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawPolygon(QPolygon([QPoint(*corner) for corner in corners]))
    painter.end()
    return QIcon(pixmap)
