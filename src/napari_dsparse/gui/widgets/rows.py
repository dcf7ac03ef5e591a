"""Widgets laid out side by side."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QWidget


def row_of(*widgets: QWidget | None) -> QHBoxLayout:
    """Widgets side by side; None is a gap that stretches, and so does a line to type in."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(5)
    for widget in widgets:
        if widget is None:
            row.addStretch(1)
        else:
            row.addWidget(widget, 1 if isinstance(widget, QLineEdit) else 0)
    return row
