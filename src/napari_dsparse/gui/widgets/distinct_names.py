"""Names of files as lists show them: those of one name with the folders that tell them apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def distinct_names(named: Sequence[tuple[str, Path | None]]) -> list[str]:
    """Names of images, with as many folders in front as tell files of one name apart.

    Parameters
    ----------
    named : sequence of (str, Path or None)
        Name of each image, and its file where it has one.

    Returns
    -------
    list of str
    """
    shown = [name for name, _ in named]
    longest = max((len(path.parent.parts) for _, path in named if path is not None), default=0)
    for folders in range(1, longest + 1):
        count = Counter(shown)
        twice = [number for number, name in enumerate(shown) if count[name] > 1]
        if not twice:
            break
        for number in twice:
            name, path = named[number]
            if path is not None:
                shown[number] = os.sep.join((*path.parent.parts[1:][-folders:], name))
    return shown
