"""Strokes that are in no project, kept aside so that neither a crash nor a closed window loses them.

Each window keeps its own in a project of its own in the user's folder. While it runs, that project is locked,
and no other window takes it; afterwards the next window offers it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import ExportError, ImageError, LabelsError, ProjectError
from napari_dsparse.files.lock import FolderLock, held_elsewhere, is_locked
from napari_dsparse.files.project_folder import DESCRIPTION, SUFFIX, read_project, remove_project
from napari_dsparse.live.kept_images import (
    KeptImage,
    Located,
    OpenedImage,
    OpenedProject,
    OpenPixels,
    name_of,
)
from napari_dsparse.live.project_keeper import ClosedProject, ProjectKeeper
from napari_dsparse.machine.user_folder import user_folder

#: Pixels of an image that is in no file are kept beside its strokes up to this many bytes.
MOST_COPIED = 64 * 2**20

#: Images without strokes that are noted at a time, to be listed again: each is looked into once.
_MOST_NOTED = 50

#: Seconds after which strokes that another computer holds are said: it may have been this one, under another
#: name, before a crash.
_ELSEWHERE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class UnsavedStrokes:
    """Strokes that a window left.

    Parameters
    ----------
    folder : Path
    when : float
        When they were written, in seconds since the epoch.
    images : tuple of str
        Names of the images that they are on.
    problem : str or None
        The reason why they cannot be opened, a sentence.
    """

    folder: Path
    when: float
    images: tuple[str, ...]
    problem: str | None = None

    @property
    def title(self) -> str:
        """The strokes in words: when they were painted, and on which images."""
        then, now = time.localtime(self.when), time.localtime()
        year = "" if then.tm_year == now.tm_year else f" {then.tm_year}"
        date = f"{then.tm_mday} {time.strftime('%b', then)}{year}, {time.strftime('%H:%M', then)}"
        if not self.images:
            return f"Strokes of {date}"
        more = f" and {len(self.images) - 1} more" if len(self.images) > 1 else ""
        return f"Strokes of {date} on {self.images[0]}{more}"

    @property
    def sentence(self) -> str:
        """The strokes as a notice says them."""
        if self.problem is None:
            return f"{self.title} were not saved."
        return f"{self.title} cannot be opened, and are kept: {self.problem}"


def unsaved_folder() -> Path:
    """The folder of strokes that are kept aside."""
    return user_folder() / "unsaved"


def find_unsaved(home: Path) -> tuple[UnsavedStrokes, ...]:
    """Strokes that windows left which are no more: first those that can be opened, the newest first.

    What ended before it held any strokes is removed, where that can be. Strokes that another computer may
    still have open are not touched, but said once they are a day old.
    """
    found = []
    for folder in home.glob(f"*{SUFFIX}"):
        try:
            if is_locked(folder):
                holder = held_elsewhere(folder)
                if holder is not None and time.time() - _time_of(folder) > _ELSEWHERE_SECONDS:
                    found.append(UnsavedStrokes(folder, _time_of(folder), (), holder))
                continue
            images = [each for each in read_project(folder).images if each.strokes is not None]
        except ProjectError as error:
            found.append(UnsavedStrokes(folder, _time_of(folder), (), str(error)))
            continue
        if images:
            found.append(UnsavedStrokes(folder, _time_of(folder), tuple(map(name_of, images))))
        else:
            with suppress(ProjectError, ExportError):
                discard_unsaved(folder)
    return tuple(sorted(found, key=lambda each: (each.problem is None, each.when), reverse=True))


def discard_unsaved(folder: Path) -> None:
    """Remove strokes that were kept aside, unless another window has opened them.

    Raises
    ------
    ProjectError
        If another window has.
    ExportError
        If the system refuses that.
    """
    lock = FolderLock(folder)
    try:
        remove_project(folder)
    finally:
        lock.release()


def _time_of(folder: Path) -> float:
    for path in (folder / DESCRIPTION, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


class UnsavedKeeper:
    """Keeps the strokes of one window aside.

    Every method belongs to the thread that works on files.

    Parameters
    ----------
    home : Path
        Folder of strokes that are kept aside.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder: Path | None = None
        self._keeper = ProjectKeeper()
        self._other = self._reader = ProjectKeeper()
        self._last: tuple[Any, ...] = ()  # what was written last
        self._left_out: set[int] = set()  # images without strokes that cannot be kept, by their numbers

    def save(
        self,
        images: Sequence[KeptImage],
        classes: Sequence[ClassInfo],
        depth: str = "off",
        normalise: str = "together",
    ) -> bool:
        """Write what has changed; without images nothing is kept any more.

        Those with strokes are written first, and some of the others, which are to be listed again with them.

        Parameters are those of `ProjectKeeper.save`.

        Returns
        -------
        bool
            False if more of the others are still to be written, by the next call.

        Raises
        ------
        DsparseError
            If it cannot be written; what was written before stays.
        """
        if self._folder is not None and not (self._folder / DESCRIPTION).exists():  # removed by hand
            self.leave()
        if not images:
            self._empty()
            return True
        now = ((*classes, depth, normalise), *((image.number, image.labels) for image in images))
        if not _is_same(now, self._last):
            folder, held = self._folder or self._new_folder(), self._held(images)
            try:
                self._keeper.save(folder, held, classes, None, depth, normalise)
            finally:  # where one image fails, the others are in the folder
                self._folder = self._keeper.folder
            self._last = now
        return self._note(images, classes, depth, normalise)

    def _held(self, images: Sequence[KeptImage]) -> list[KeptImage]:
        """Images with strokes, and the others that are kept with them already."""
        return [each for each in images if each.labels is not None or self._keeper.holds(each.number)]

    def _note(
        self, images: Sequence[KeptImage], classes: Sequence[ClassInfo], depth: str, normalise: str
    ) -> bool:
        """Keep some further images without strokes; True if none is left then."""
        held = {each.number for each in self._held(images)} | self._left_out
        due = [each.number for each in images if each.number not in held]
        now = {*held, *due[:_MOST_NOTED]} - self._left_out
        if due and self._folder is not None:
            with suppress(ImageError, LabelsError, ExportError):  # no strokes are lost with it
                images = [each for each in images if each.number in now]
                self._keeper.save(self._folder, images, classes, None, depth, normalise)
            self._left_out |= {number for number in due[:_MOST_NOTED] if not self._keeper.holds(number)}
        return len(due) <= _MOST_NOTED

    def _new_folder(self) -> Path:
        try:
            self._home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(
                f"Strokes cannot be kept in {str(self._home)!r} ({error.strerror or error}); save them as a "
                "project."
            ) from error
        return self._home / f"{uuid.uuid4().hex[:12]}{SUFFIX}"

    def read(
        self,
        folder: Path,
        image_folders: Sequence[Path],
        layers: Sequence[OpenPixels],
        located: Located = MappingProxyType({}),
    ) -> OpenedProject:
        """Open strokes that another window left, beside the present ones, which stay until `switch`.

        Nothing is said of images that are not found and have no strokes.

        Parameters are those of `ProjectKeeper.read`.
        """
        self._reader = self._keeper if folder == self._folder else self._other
        opened = self._reader.read(folder, image_folders, layers, located)
        return replace(opened, missing=tuple(each for each in opened.missing if each.painted))

    def switch(self, entries: Mapping[int, int], labels: Mapping[int, Any]) -> None:
        """Leave the present strokes for later, and go on with those that were read."""
        if self._reader is self._other:
            self.leave()
            self._keeper, self._other = self._other, self._keeper
        self._keeper.switch(entries, labels)
        self._folder, self._last, self._left_out = self._keeper.folder, (), set()

    def find_open(self, layers: Sequence[OpenPixels]) -> list[OpenedImage]:
        """As `ProjectKeeper.find_open`."""
        return self._keeper.find_open(layers)

    def take(self, entries: Mapping[int, int], labels: Mapping[int, Any], unused: Sequence[int] = ()) -> None:
        """As `ProjectKeeper.take`."""
        self._keeper.take(entries, labels, unused)

    def drop(self, entry: int) -> None:
        """As `ProjectKeeper.drop`."""
        self._keeper.drop(entry)
        self._last = ()

    @property
    def closed(self) -> ClosedProject | None:
        """As of `ProjectKeeper`."""
        return self._keeper.closed

    def resume(self, closed: ClosedProject) -> bool:
        """As of `ProjectKeeper`."""
        resumed = self._keeper.resume(closed)
        self._folder, self._last, self._left_out = self._keeper.folder, (), set()
        return resumed

    def leave(self) -> None:
        """Leave what is kept for the next window that asks."""
        self._keeper.close()
        self._folder, self._last, self._left_out = None, (), set()

    def close(self) -> None:
        """Leave what is kept, and what was read."""
        self.leave()
        self._other.close()

    def _empty(self) -> None:
        """Nothing is unsaved any more; images that could not be found keep their strokes."""
        folder = self._folder
        if folder is None:
            return
        self._keeper.save(folder, (), (), None)
        others = self._keeper.images
        self.leave()
        if not others:
            discard_unsaved(folder)


def _is_same(now: tuple[Any, ...], last: tuple[Any, ...]) -> bool:
    """True if classes and choices are equal, and the images and their arrays of strokes are the same ones."""
    if len(now) != len(last) or now[0] != last[0]:
        return False
    return all(a[0] == b[0] and a[1] is b[1] for a, b in zip(now[1:], last[1:], strict=True))
