"""A bar in napari's activity dock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer

#: Parts of a bar, and milliseconds between two redraws.
_PARTS, _REDRAW = 1000, 200


class Activity(QObject):
    """Shows the share of some work that is done.

    napari handles events while it draws such a bar. It is therefore drawn from a timer: drawn at once, it
    would let the next news of the work overtake the one that is being handled.

    Parameters
    ----------
    parent : QObject
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._doing = ""
        self._cancel: Callable[[], None] | None = None
        self._share: float | None = None
        self._bar: Any = None
        self._drawing = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)

    def begin(self, doing: str, cancel: Callable[[], None]) -> None:
        """Show a bar for work that is described so; `cancel` is called by the button beside it."""
        self._doing, self._cancel = doing, cancel
        self.show(0.0)

    def show(self, share: float | None) -> None:
        """Show the share that is done, 0..1; None takes the bar away."""
        self._share = share
        if not self._timer.isActive():
            self._timer.start(_REDRAW)

    def shutdown(self) -> None:
        """Take the bar away now."""
        self._timer.stop()
        self._share = None
        self._close()

    def _draw(self) -> None:
        if self._drawing:  # from within the events that napari handles
            self._timer.start(_REDRAW)
            return
        self._drawing = True
        try:
            if self._share is None:
                self._close()
            else:
                self._show_now(self._share)
        finally:
            self._drawing = False

    def _show_now(self, share: float) -> None:
        from napari.utils import cancelable_progress

        if self._bar is None:
            self._bar = cancelable_progress(total=_PARTS, desc=self._doing, cancel_callback=self._cancel)
        bar = self._bar
        if bar is not None:
            bar.update(round(share * _PARTS) - bar.n)

    def _close(self) -> None:
        bar, self._bar, self._cancel = self._bar, None, None
        if bar is not None:
            bar.close()
