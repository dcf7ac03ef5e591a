"""Cache on disk: kernels, so that each is compiled once per machine, and times measured on the machine.

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
    """The user's cache folder; None without a home folder."""
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
        path = folder / name
        if not path.is_file():  # reading a pipe of that name would never end
            return None
        entry = path.read_bytes()
    except OSError:
        return None
    content, digest = entry[:-_DIGEST], entry[-_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def store(folder: Path | None, name: str, content: bytes) -> None:
    """Store `content` under `name`, if possible."""
    if folder is None:
        return
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A unique name, then one atomic step: of two processes at once, each writes a complete entry.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:16]}-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content + hashlib.sha256(content).digest())
        os.replace(temporary, folder / name)
    except OSError:
        # Read-only home, full disk, or Windows holding the entry open for another process.
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
