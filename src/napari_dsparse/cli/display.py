"""A check that a window can be opened here, and the reason where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

#: Qt platforms that draw without a screen.
_SCREENLESS = ("offscreen", "minimal", "vnc")

_PROBE = "from qtpy.QtWidgets import QApplication; import qtpy; QApplication([]); print(qtpy.API_NAME)"


@dataclass(frozen=True, slots=True)
class QtProbe:
    """Outcome of a trial start of Qt.

    Parameters
    ----------
    works : bool
    words : str
        Name of the binding where it works, else the reason that Qt or Python gave.
    """

    works: bool
    words: str


def why_no_window(qt: QtProbe | None = None) -> str | None:
    """None where napari can open a window, else the reason in one sentence.

    Parameters
    ----------
    qt : QtProbe, optional
        What `probe_qt` found; Qt is tried here if it is not given.
    """
    if find_spec("napari") is None:
        return 'napari is not installed; run pip install "napari-dsparse[all]".'
    if not has_screen():
        return "There is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set."
    qt = qt or probe_qt()
    return None if qt.works else f"Qt does not start: {qt.words}"


def has_screen() -> bool:
    """True if the environment names a screen that people see."""
    if os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0] in _SCREENLESS:
        return False
    if sys.platform.startswith("linux"):
        return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return True


def probe_qt() -> QtProbe:
    """Start a Qt application, on a screen where there is one.

    In a separate process: where a system library is missing, Qt ends the whole process.
    """
    environment = dict(os.environ)
    if not has_screen():
        environment["QT_QPA_PLATFORM"] = "offscreen"
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True, text=True, timeout=60, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return QtProbe(False, "no answer within 60 s.")
    if ended.returncode == 0:
        return QtProbe(True, ended.stdout.strip())
    said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    # Qt names the missing library on the first line; Python names the error on the last.
    reason = next((line for line in said if line.startswith("qt.qpa")), said[-1] if said else "")
    return QtProbe(False, reason or f"it ended with code {ended.returncode}.")
