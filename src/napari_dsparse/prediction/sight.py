"""Workers that read images from files themselves, and those that have to be sent the pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from napari_dsparse.images.reference import ImageReference
from napari_dsparse.prediction.pieces import Unread


class Sight:
    """Knows which workers do not see the files of a folder; kept as long as the cluster, for all images.

    Parameters
    ----------
    say : callable
        Called with a line about each machine and folder of which that is found.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._blind: set[tuple[str, PurePath]] = set()
        self._told: set[tuple[str, PurePath]] = set()

    def sees(self, worker: str, reference: ImageReference) -> bool:
        """True unless this worker could not read a file of the same folder."""
        return (worker, PurePath(reference.path).parent) not in self._blind

    def learn(self, answer: Unread, reference: ImageReference) -> None:
        """Take note of a worker's answer."""
        folder = PurePath(reference.path).parent
        self._blind.add((answer.worker, folder))
        if (answer.host, folder) not in self._told:
            self._told.add((answer.host, folder))
            self._say(
                f"Workers on {answer.host} do not read {reference.path} themselves ({answer.reason}); pixels "
                "of the files in its folder are sent to them."
            )
