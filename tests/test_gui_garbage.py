"""The collector is held only while a session is busy, and never for good."""

from __future__ import annotations

import gc
from dataclasses import replace

from napari_dsparse.gui.garbage import CollectorHold
from napari_dsparse.live.state import LiveState, Training

RESTING = LiveState()
BUSY = replace(RESTING, training=Training.LEARNING)


def test_old_objects_are_set_aside_while_a_session_is_busy() -> None:
    before = gc.get_freeze_count()
    hold = CollectorHold()
    hold.follow(RESTING)
    assert gc.get_freeze_count() == before
    hold.follow(BUSY)
    hold.follow(BUSY)
    assert gc.get_freeze_count() > 1000
    hold.follow(RESTING)
    assert gc.get_freeze_count() == 0


def test_two_docks_hold_together() -> None:
    one, other = CollectorHold(), CollectorHold()
    one.follow(BUSY)
    other.follow(BUSY)
    one.release()
    one.release()
    assert gc.get_freeze_count() > 1000
    other.release()
    assert gc.get_freeze_count() == 0
