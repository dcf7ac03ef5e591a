"""The status sentence, in a place whose height is always the same."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QWidget

from napari_dsparse.gui.widgets.plain import plain

#: Lines always reserved: the length of all but a few sentences, which are scrolled.
LINES = 4
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

    def say(self, sentence: str, *, tip: str = "", failed: bool = False) -> None:
        """Show `sentence`, with `tip` as tooltip; failures are highlighted."""
        self.setText(sentence)
        self.setToolTip(plain(tip))
        if self._failed != failed:
            self._failed = failed
            self._style()

    def set_foreground(self, color: str) -> None:
        """Choose the red of failures that can be read where text has this colour."""
        self._red = RED_ON_DARK if QColor(color).lightness() > 127 else RED_ON_LIGHT
        self._style()

    def _style(self) -> None:
        self.setStyleSheet(f"color: {self._red}; font-weight: bold;" if self._failed else "")


class StatusPlace(QScrollArea):
    """The place of the status sentence: nothing below it moves, however long the sentence.

    Parameters
    ----------
    label : StatusLabel
    """

    def __init__(self, label: StatusLabel) -> None:
        super().__init__()
        self.setWidget(label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        label.installEventFilter(self)
        self._keep_lines()

    def _keep_lines(self) -> None:
        lines = self.widget().fontMetrics().size(0, "\n".join("A" * LINES)).height()
        self.setFixedHeight(lines + 2 * DOCUMENT_MARGIN)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Adapt to the font that a theme gives the sentence."""
        if watched is self.widget() and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._keep_lines()
        return bool(super().eventFilter(watched, event))
