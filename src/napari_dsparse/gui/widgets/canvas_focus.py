"""Keyboard focus goes back to the canvas after a click, and the wheel changes no choice."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QListWidget,
    QMainWindow,
    QTableWidget,
    QWidget,
)


class CanvasFocus(QObject):
    """Gives the canvas the keys after every click on the controls of a panel.

    Whoever walks to a control by the Tab key stays there, and text that is being edited keeps the keys. The
    wheel over a choice or a slider scrolls the dock instead: it is rarely meant for them.

    Parameters
    ----------
    panel : QWidget
        With all its controls.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._panel = panel
        self._later = QTimer(self)  # a click may open an editor or a dialog
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.give)
        for control in panel.findChildren(QWidget):
            if isinstance(control, QAbstractButton | QComboBox | QAbstractSlider):
                control.installEventFilter(self)
            if isinstance(control, QComboBox):
                control.activated.connect(self._later.start)
            if isinstance(control, QTableWidget | QListWidget):
                control.viewport().installEventFilter(self)
                control.itemDelegate().closeEditor.connect(self._later.start)

    def give(self) -> None:
        """Give the keys to the canvas, unless text is being edited or a menu or dialog is open."""
        held = QApplication.focusWidget()
        editing = isinstance(held, QLineEdit | QAbstractSpinBox) and self._panel.isAncestorOf(held)
        waiting = QApplication.activePopupWidget() is not None or QApplication.activeModalWidget() is not None
        canvas = canvas_of(self._panel)
        if canvas is not None and not editing and not waiting:
            canvas.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Watch for clicks, and pass the wheel on to the dock."""
        if event.type() == QEvent.Type.MouseButtonRelease:
            self._later.start()
        elif event.type() == QEvent.Type.Wheel and isinstance(watched, QComboBox | QAbstractSlider):
            event.ignore()
            return True
        return False


def canvas_of(widget: QWidget) -> QWidget | None:
    """The canvas of the napari window that `widget` is docked in, also while it floats."""
    window: QWidget | None = widget
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    middle = None if window is None else window.centralWidget()
    if middle is None:
        return None
    return next((one for one in middle.findChildren(QWidget) if one.inherits("QOpenGLWidget")), middle)
