"""Compiled kernels on disk, so that each is compiled once a machine and not once a process; and what was
measured of the machine.

Safe to share, between processes and between nodes of a cluster: an entry appears complete or not at all,
carries a digest of its content, and is thrown away when that does not match. No failure here is an error:
without a cache, kernels are compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path

#: Environment variable that names another folder.
VARIABLE = "DSPARSE_KERNEL_CACHE"

_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """The user's folder for what is kept; None where there is no home."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "napari-dsparse" / "kernels"


def load(folder: Path | None, name: str) -> bytes | None:
    """Content kept under `name`; None if there is nothing, or it is not what was stored."""
    if folder is None:
        return None
    try:
        entry = (folder / name).read_bytes()
    except OSError:
        return None
    content, digest = entry[:-_DIGEST], entry[-_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def store(folder: Path | None, name: str, content: bytes) -> None:
    """Keep `content` under `name`, if that can be done."""
    if folder is None:
        return
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A name of its own, then one atomic step: two processes at once each put down a whole entry.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:16]}-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content + hashlib.sha256(content).digest())
        os.replace(temporary, folder / name)
    except OSError:
        # Read-only home, full disk, or Windows holding the entry open for another process.
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
