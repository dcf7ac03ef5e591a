"""Widgets laid out side by side."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QWidget


def row_of(*widgets: QWidget | None) -> QHBoxLayout:
    """Widgets side by side; None is a gap that stretches."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    for widget in widgets:
        if widget is None:
            row.addStretch(1)
        else:
            row.addWidget(widget)
    return row
