"""Takes what worker threads say over to the window's thread."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal


class EventRelay(QObject):
    """Its signal may be emitted in any thread; Qt delivers it in the window's.

    It has no parent, so it lives as long as a thread that may still speak.
    """

    posted = Signal(object)
