"""Relay of worker threads' events to the window's thread."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal


class EventRelay(QObject):
    """Its signal may be emitted in any thread; Qt delivers it in the window's.

    It has no parent, so it lives as long as any thread that may still emit.
    """

    posted = Signal(object)
