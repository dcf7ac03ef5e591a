"""A notice in the dock: strokes of a former window that were not saved, to open or to discard."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_dsparse.gui.widgets.plain import plain


class UnsavedNotice(QFrame):
    """A sentence and three buttons; hidden while there is nothing to say."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("unsaved_notice")
        self.label = QLabel()
        self.label.setObjectName("unsaved_label")
        self.label.setTextFormat(Qt.TextFormat.PlainText)  # names in files may look like HTML
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.open_button = self._button(
            "Open", "unsaved_open_button", "List these images again, with their strokes."
        )
        self.discard_button = self._button(
            "Discard…", "unsaved_discard_button", "Remove these strokes for good; asks first."
        )
        self.later_button = self._button(
            "Later", "unsaved_later_button", "Hide this until the dock is opened again; nothing is removed."
        )
        row = QHBoxLayout()
        row.setSpacing(5)
        for button in (self.open_button, self.discard_button, self.later_button):
            row.addWidget(button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        layout.addWidget(self.label)
        layout.addLayout(row)
        self.hide()

    def say(self, sentence: str, *, tip: str = "", can_open: bool = True) -> None:
        """Show a sentence, with a tooltip."""
        self.label.setText(sentence)
        self.label.setToolTip(plain(tip))
        self.open_button.setVisible(can_open)
        self.show()

    def set_foreground(self, color: str) -> None:
        """Frame it in a colour that suits a theme whose text has this one."""
        rgb = ", ".join(map(str, QColor(color).getRgb()[:3]))
        self.setStyleSheet(f"#unsaved_notice {{ border: 1px solid rgba({rgb}, 110); border-radius: 4px; }}")

    def _button(self, text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setToolTip(tip)
        return button
