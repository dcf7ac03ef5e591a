"""The dock's project: opened and saved on request, and by itself a few seconds after every change."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.errors import DsparseError
from napari_dsparse.files.project_folder import SUFFIX
from napari_dsparse.gui.study import Study, StudyImage
from napari_dsparse.gui.widgets.dialogs import ask_folder, ask_project_path, confirm
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.live import events as ev
from napari_dsparse.live.project_keeper import KeptImage, OpenedProject, ProjectKeeper

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock

_log = logging.getLogger(__name__)

#: Seconds from a change to its saving: what a crash may cost.
AUTOSAVE_SECONDS = 5.0

NO_PROJECT = "No project: the list ends with this window"


class ProjectDesk(QObject):
    """Keeps the list of images, strokes, classes and the model in a project's folder.

    Parameters
    ----------
    dock : SegmentationDock
    study : Study
    pick : callable
        Takes the row of an image to open.
    """

    #: Emitted in the thread that works on files: a callable, and the `Future` that it takes.
    _finished = Signal(object, object)

    def __init__(self, dock: SegmentationDock, study: Study, pick: Callable[[int], None]) -> None:
        super().__init__(dock)
        self._dock, self._study, self._pick = dock, study, pick
        self._controller, self._panel = dock.controller, dock.panel
        self._keeper = ProjectKeeper()
        self._files = ThreadPoolExecutor(1, thread_name_prefix="project")
        self._folder: Path | None = None
        self._opening: Path | None = None
        self._changes = self._saved = 0
        self._busy = False  # a project is being opened
        self._failure: str | None = None  # of the last saving
        #: True once the window is gone, and nobody is left to tell anything.
        self.ended = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(int(1000 * AUTOSAVE_SECONDS))
        self._timer.timeout.connect(self.save_now)
        self._finished.connect(self._on_finished)
        study.edited.connect(self._on_edited)
        panel = self._panel
        panel.project_open_button.clicked.connect(self._ask_to_open)
        panel.project_save_button.clicked.connect(self._ask_to_save)
        self._draw()

    def save_after(self, seconds: float) -> None:
        """Save so long after a change from now on."""
        self._timer.setInterval(int(1000 * seconds))

    @property
    def unsaved(self) -> bool:
        """True if something has changed since the project was written, or there is no project to hold it."""
        return self._changes != self._saved

    # -- opening --------------------------------------------------------------------------------------------

    def _ask_to_open(self) -> None:
        for folder in ask_folder(self._dock, f"Open project (a folder NAME{SUFFIX})"):
            if self._folder is None and any(each.labels is not None for each in self._study.images):
                question = (
                    "The images listed now are in no project. Open another list? Layers that are open stay."
                )
                if not confirm(self._dock, "Open project", question):
                    return
            self.open(folder)

    def open(self, folder: Path, image_folders: tuple[Path, ...] = ()) -> None:
        """Open a project in place of the list; what a project that is open lacks is saved first."""
        if self._busy:
            return
        self._busy = True
        self._draw()
        read = partial(self._keeper.read, folder, image_folders)
        self._save_before(partial(self._run, read, self._on_read))

    def _save_before(self, then: Callable[[], None]) -> None:
        """Go on with `then` once the present project holds everything; not at all if that fails."""
        self._catch_up()
        if self._folder is not None and self.unsaved:
            self._submit(self._folder, then)
        else:
            then()

    def _on_read(self, opened: OpenedProject) -> None:
        """It has been read; what was painted meanwhile belongs to the project before."""
        self._save_before(partial(self._show, opened))

    def _show(self, opened: OpenedProject) -> None:
        images = [
            StudyImage(
                self._controller.number_of(None),
                each.path.name,
                each.source,
                file=each.file,
                path=each.path,
                labels=each.labels,
                strokes=each.strokes,
                pixels=each.pixels,
            )
            for each in opened.images
        ]
        entries = {image.number: each.entry for image, each in zip(images, opened.images, strict=True)}
        labels = {image.number: image.labels for image in images}
        self._run(partial(self._keeper.switch, entries, labels), None)
        self._folder, self._busy = opened.folder, False
        self._study.replace(images, opened.classes)
        self._panel.images_section.expand(animate=False)
        if images:
            self._pick(next((row for row, each in enumerate(images) if each.strokes), 0))
        self._changes = self._saved = 0  # opening changes nothing
        self._timer.stop()
        if opened.missing:
            self._say_missing(opened)
        else:
            self._controller.send(ev.Noted(f"Project {opened.folder.name} opened."))
        self._draw()

    def _say_missing(self, opened: OpenedProject) -> None:
        """Ask once for the folder of images that were moved."""
        first = self._opening != opened.folder
        self._opening = opened.folder
        if first:
            number = len(opened.missing)
            what = "1 image was" if number == 1 else f"{number} images were"
            folders = ask_folder(self._dock, f"{what} not found: choose the folder they were moved to")
            if folders:
                self.open(opened.folder, tuple(folders))
                return
        self._controller.send(ev.Refused(opened.missing[0]))

    # -- saving ---------------------------------------------------------------------------------------------

    def _ask_to_save(self) -> None:
        if self._folder is None:
            path = ask_project_path(self._dock, SUFFIX)
            if path is None:
                return
            self.save_as(path)
        else:
            self._changes += 1
            self.save_now()

    def _catch_up(self) -> None:
        """Take over what was painted in the last moment, and on layers of images behind."""
        self._controller.strokes.flush()
        chosen = self._controller.state.chosen
        if self._study.catch_up(None if chosen is None else chosen.key):
            self._changes += 1

    def save_as(self, folder: Path) -> None:
        """Make a project of the list, and keep it up to date from now on."""
        self._submit(folder)

    def save_now(self) -> None:
        """Write what has changed, if there is a project to hold it."""
        self._catch_up()
        if self._folder is not None and self.unsaved and not self._busy:
            self._submit(self._folder)

    def _submit(self, folder: Path, then: Callable[[], None] | None = None) -> None:
        self._timer.stop()
        state, changes = self._controller.state, self._changes
        images = [
            KeptImage(
                each.number,
                each.name,
                each.path,
                None if each.file is None else each.file.series,
                each.source.channel_axis,
                each.labels,
            )
            for each in self._study.images
        ]
        model = state.model
        learned = model is not None and any(each.key in model.keys for each in self._study.images)
        classes = state.classes if state.studied else state.study_classes
        classifier = model.classifier if model is not None and learned else None
        self._run(
            partial(self._keeper.save, folder, images, classes, classifier),
            partial(self._on_saved, changes, then),
        )

    def _on_saved(self, changes: int, then: Callable[[], None] | None, folder: Path) -> None:
        if self._folder != folder:
            self._controller.send(ev.Noted(f"Project {folder.name} made; it is kept up to date from now on."))
        self._folder, self._saved, self._failure = folder, changes, None
        if then is not None:
            then()
        elif self.unsaved:
            self._timer.start()
        self._draw()

    def _on_edited(self) -> None:
        """Something that a project keeps has changed."""
        self._changes += 1
        if self._folder is not None and not self._timer.isActive():
            self._timer.start()
        self._draw()

    # -- the thread and the end -----------------------------------------------------------------------------

    def _run(self, work: Callable[[], Any], then: Callable[[Any], None] | None) -> None:
        future = self._files.submit(work)
        if then is not None:
            future.add_done_callback(partial(_report, weakref.ref(self), then))

    def _on_finished(self, then: Callable[[Any], None], future: Future[Any]) -> None:
        try:
            result = future.result()
        except (DsparseError, OSError, RuntimeError, ValueError, MemoryError) as error:
            self._on_failure(str(error) or type(error).__name__)
        else:
            then(result)

    def _on_failure(self, sentence: str) -> None:
        """Say it once, and try again in a while: perhaps there is room again, or a network."""
        if sentence != self._failure:
            self._controller.send(ev.Refused(sentence))
        self._failure = None if self._busy and not self.unsaved else sentence
        self._busy = False
        if self._folder is not None and self.unsaved:
            self._timer.start()
        self._draw()

    def wait(self) -> None:
        """Wait for files that are being read or written."""
        self._files.submit(int).result()

    def shutdown(self) -> None:
        """Save what is not saved yet, and let other programs open the project."""
        self.ended, self._busy = True, False
        self.save_now()
        self._files.submit(self._keeper.close)
        self._files.shutdown(wait=True)

    def _draw(self) -> None:
        panel = self._panel
        panel.project_save_button.setText("Save…" if self._folder is None else "Save")
        panel.project_save_button.setEnabled(
            not self._busy and (bool(self._study.images) or self._folder is not None)
        )
        if self._folder is None:
            text = NO_PROJECT
        else:
            failed = "NOT all saved" if self._failure else "saving in a moment"
            text = f"{self._folder.name}: {failed if self.unsaved else 'all saved'}"
        panel.project_label.setText(text)
        panel.project_label.setToolTip(plain(self._failure or str(self._folder or "")))
        panel.project_open_button.setEnabled(not self._busy)


def _report(desk: weakref.ref[ProjectDesk], then: Callable[[Any], None], future: Future[Any]) -> None:
    """Pass a result on to the window's thread, if the window is still there."""
    present = desk()
    if present is not None and not present.ended:
        present._finished.emit(then, future)
    elif (error := future.exception()) is not None:
        _log.error("The project was not saved when the window closed: %s", error)
