"""Processes by name, so that what one leaves behind can be told from what a living one still works on."""

from __future__ import annotations

import hashlib
import platform
import uuid
from dataclasses import dataclass

import psutil

#: Two start times of one process agree within so many seconds.
_CLOCK_SECONDS = 2


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of some computer; no later process has the same.

    Parameters
    ----------
    host : str
        The computer, in letters that say nothing about it.
    pid : int
    started : int
        Seconds since 1970.
    """

    host: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> ProcessId:
        """This process."""
        process = psutil.Process()
        return cls(_this_host(), process.pid, int(process.create_time()))

    def is_gone(self) -> bool | None:
        """True if it has ended, None where that cannot be told: it runs, or ran, on another computer."""
        if self.host != _this_host():
            return None
        try:
            process = psutil.Process(self.pid)
            is_other = abs(process.create_time() - self.started) > _CLOCK_SECONDS
            return bool(is_other or process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


def _this_host() -> str:
    name = f"{platform.node()} {uuid.getnode()}"
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
