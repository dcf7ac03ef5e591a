"""The status sentence, in a label whose height does not move the widgets below."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QWidget

from napari_dsparse.gui.widgets.plain import plain

#: Lines always reserved: the length of most sentences.
LINES = 3
#: Pixels that Qt leaves around text that can be selected.
DOCUMENT_MARGIN = 4
#: Failures, on a dark and on a light window.
RED_ON_DARK, RED_ON_LIGHT = "#ff6b6b", "#b3261e"


class StatusLabel(QLabel):
    """A sentence on as many lines as it takes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)  # names in files may look like HTML
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._failed, self._red = False, RED_ON_DARK
        self._keep_lines()

    def say(self, sentence: str, *, tip: str = "", failed: bool = False) -> None:
        """Show `sentence`, with `tip` as tooltip; failures are highlighted."""
        self.setText(sentence)
        self.setToolTip(plain(tip))
        if self._failed != failed:
            self._failed = failed
            self._style()

    def _keep_lines(self) -> None:
        margins = self.contentsMargins()
        around = 2 * DOCUMENT_MARGIN + margins.top() + margins.bottom()
        self.setMinimumHeight(self.fontMetrics().size(0, "\n".join("A" * LINES)).height() + around)

    def set_foreground(self, color: str) -> None:
        """Choose the red of failures that can be read where text has this colour."""
        self._red = RED_ON_DARK if QColor(color).lightness() > 127 else RED_ON_LIGHT
        self._style()

    def _style(self) -> None:
        self.setStyleSheet(f"color: {self._red}; font-weight: bold;" if self._failed else "")

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Adapt to the font of a new theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._keep_lines()
