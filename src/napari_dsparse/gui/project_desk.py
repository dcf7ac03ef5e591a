"""The dock's project: opened and saved on request, and by itself a few seconds after every change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.files.project_folder import SUFFIX
from napari_dsparse.gui.awaited_images import AwaitedImages
from napari_dsparse.gui.file_worker import FileWorker
from napari_dsparse.gui.kept import kept_images, open_layers, pixels_of, study_images
from napari_dsparse.gui.kept_model import forget_model, learned_model, take_model
from napari_dsparse.gui.lock_question import LockQuestion
from napari_dsparse.gui.missing_images import Places, ask_places, say_missing
from napari_dsparse.gui.pixel_copies import PixelCopies
from napari_dsparse.gui.recent_desk import RecentDesk
from napari_dsparse.gui.removing import close_layers
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.widgets.dialogs import ask_project_path
from napari_dsparse.live import events as ev
from napari_dsparse.live.kept_images import MissingImage, OpenedProject
from napari_dsparse.live.labelled_image import are_deep
from napari_dsparse.live.project_keeper import ClosedProject, ProjectKeeper
from napari_dsparse.live.unsaved import UnsavedKeeper

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dsparse.gui.dock import SegmentationDock

Keeper: TypeAlias = ProjectKeeper | UnsavedKeeper

#: Seconds from a change to its saving: what a crash may cost.
AUTOSAVE_SECONDS = 5.0


class ProjectDesk(QObject):
    """Keeps the list of images, strokes, classes and the model in a project's folder.

    Parameters
    ----------
    dock : SegmentationDock
    study : Study
    pick : callable
        Takes the row of an image to open.
    """

    #: The list was saved as a project, or saving failed, or another list was opened.
    changed = Signal()

    def __init__(self, dock: SegmentationDock, study: Study, pick: Callable[[int], None]) -> None:
        super().__init__(dock)
        self._dock, self._study, self._pick = dock, study, pick
        self._controller, self._panel = dock.controller, dock.panel
        self._keeper = ProjectKeeper()
        self._holder: Keeper = self._keeper  # of what was opened last
        #: Works on all files of this dock.
        self.worker = FileWorker("project", self)
        self._folder: Path | None = None
        self._changes = self._saved = 0
        self._busy = False  # a project is being opened
        self._copies = PixelCopies()
        self._failure: str | None = None  # of the last saving
        #: Keeps a list that is in no project before another is opened; then calls the one or the other.
        self.keep_aside: Callable[[Callable[[], None], Callable[[str], None]], None] | None = None
        #: Leaves a list that was kept so to the next window that asks, in the thread that works on files.
        self.leave_aside: Callable[[], None] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(int(1000 * AUTOSAVE_SECONDS))
        self._timer.timeout.connect(self.save_now)
        study.edited.connect(self._on_edited)
        self._awaited, self._lock = AwaitedImages(dock, study, self), LockQuestion(dock, self)
        panel = self._panel
        panel.project_save_button.clicked.connect(self.ask_to_save)
        #: The menu of projects.
        self.recent = RecentDesk(dock, self)
        self._draw()

    def save_after(self, seconds: float) -> None:
        """Save so long after a change from now on."""
        self._timer.setInterval(int(1000 * seconds))

    @property
    def unsaved(self) -> bool:
        """True if something has changed since the project was written, or there is no project to hold it."""
        return self._changes != self._saved

    @property
    def busy(self) -> bool:
        """True while another list is being opened."""
        return self._busy

    @property
    def folder(self) -> Path | None:
        """Folder of the project; None while the list is in none."""
        return self._folder

    @property
    def holds_list(self) -> bool:
        """True if there is a project, and it could be saved last time."""
        return self._folder is not None and self._failure is None

    @property
    def failure(self) -> str | None:
        """The reason why the project could not be saved, a sentence."""
        return self._failure

    # -- opening --------------------------------------------------------------------------------------------

    def new(self) -> None:
        """Begin an empty list; a project that is open is saved and closed, strokes in none are kept aside.

        Layers that were opened for images of the list go with it.
        """
        if self._begin():
            self._save_before(self._clear)

    def _clear(self) -> None:
        self.worker.run(self._keeper.close)
        if self._folder is None and self.leave_aside is not None:
            self.worker.run(self.leave_aside)
        before, self._folder, self._awaited.keeper = self._study.images, None, None
        forget_model(self._study, self._controller)
        self._study.replace([], default_classes(2))
        close_layers(self._dock, before)
        self._controller.send(ev.DepthChosen("off"))
        self._controller.send(ev.ExposureMatched(False))
        if self._controller.state.chosen is None:  # else the table is that of an image beside the list
            self._controller.set_classes(default_classes(2))
        self._end_opening()
        self._controller.send(ev.Noted("A new list: add images, paint, and Save… keeps it as a project."))
        self._draw()
        self.changed.emit()

    def _end_opening(self) -> None:
        self._busy = False
        self._changes = self._saved = 0  # opening changes nothing
        self._failure = None
        self._timer.stop()

    def open(self, folder: Path, image_folders: tuple[Path, ...] = (), wanted: int | None = None) -> None:
        """Open a project in place of the list; what a project that is open lacks is saved first.

        Layers that were opened for images of the list go with it, but for those that the project shows.
        """
        if self._begin():
            places = Places(image_folders, wanted=wanted)
            self._save_before(partial(self._read, folder, self._keeper, places))

    def open_unsaved(self, folder: Path, keeper: UnsavedKeeper) -> None:
        """The same with strokes that were kept aside; they are in no project afterwards either."""
        if self._begin():
            self._save_before(partial(self._read, folder, keeper, Places()))

    def _read(self, folder: Path, keeper: Keeper, places: Places) -> None:
        layers = open_layers(self._dock)
        failed = self._on_failure if keeper is not self._keeper else partial(self._on_not_opened, folder)
        self.worker.run(
            partial(keeper.read, folder, places.folders, pixels_of(self._dock, layers), places.files),
            partial(self._on_read, layers, keeper, places),
            failed,
        )

    def ask_for_missing(self, image: MissingImage) -> None:
        """Ask anew where images are that were not found, this one among them."""
        if self._folder is None or image.waits:
            self.refuse(image.reason)
        else:
            self.open(self._folder, wanted=image.entry)

    def drop(self, image: MissingImage) -> None:
        """Take an image that was not found out of the project, with its strokes, at the next saving."""
        self.worker.run(partial(self._holder.drop, image.entry))
        self._study.drop_missing(image)

    def _begin(self) -> bool:
        if self._busy:
            return False
        self._busy = True
        self._draw()
        return True

    def _on_not_opened(self, folder: Path, sentence: str) -> None:
        self._on_failure(sentence)
        self._lock.ask(folder)

    def _save_before(self, then: Callable[[], None]) -> None:
        """Go on with `then` once the present project holds everything; not at all if that fails."""
        self.catch_up()
        if self._folder is not None and self.unsaved:
            self._submit(self._folder, then)
        elif self._folder is None and self.keep_aside is not None:
            self.keep_aside(then, self._on_failure)
        else:
            then()

    def _on_read(
        self, layers: Sequence[Image], keeper: Keeper, places: Places, opened: OpenedProject
    ) -> None:
        """It has been read; what was painted meanwhile belongs to the project before."""
        self.catch_up()
        if opened.folder == self._folder and self.unsaved:  # it does not hold what was painted meanwhile
            self._save_before(partial(self._read, opened.folder, keeper, places))
            return
        saved = keeper is self._keeper
        more = ask_places(opened, places, self._dock, saved=saved) if self._busy else None
        if more is not None:
            self._save_before(partial(self._read, opened.folder, keeper, more))
        else:
            self._save_before(partial(self._show, layers, keeper, places, opened))

    def _show(self, layers: Sequence[Image], keeper: Keeper, places: Places, opened: OpenedProject) -> None:
        images, entries, labels = study_images(self._dock, opened.images, layers)
        self.worker.run(partial(keeper.switch, entries, labels))
        if keeper is not self._keeper:
            self.worker.run(self._keeper.close)
        elif self._folder is None and self.leave_aside is not None:  # else it would count as saved now
            self.worker.run(self.leave_aside)
        self._folder = opened.folder if keeper is self._keeper else None
        waits = len(images) < len(opened.images) or any(each.waits for each in opened.missing)
        self._awaited.keeper = keeper if waits else None
        forget_model(self._study, self._controller)
        before, shared = self._study.images, {id(each.layer()) for each in images if each.layer is not None}
        self._study.replace(images, opened.classes, opened.missing)
        self._holder = keeper
        close_layers(self._dock, before, shared)
        self._controller.send(ev.DepthChosen(opened.depth))
        self._controller.send(ev.ExposureMatched(opened.normalise == "image"))
        take_model(self._study, self._controller, opened.classifier, opened.folder.name)
        self._panel.images_section.expand(animate=False)
        if images:
            self._pick(next((row for row, each in enumerate(images) if each.strokes), 0))
        self._end_opening()
        if places.folders or places.files:  # but the project shall know where its images are now
            self._on_edited()
        if places.wanted is not None:
            self._dock.study.mark_missing(places.wanted)
        if opened.missing or opened.problem:
            self.refuse(f"{opened.problem} {say_missing(opened.missing)}".strip())
        elif self._folder is None:
            self._controller.send(ev.Noted("The strokes are back; Save… keeps them in a project."))
        else:
            self._controller.send(ev.Noted(f"Project {opened.folder.name} opened."))
        self._draw()
        self.changed.emit()

    def refuse(self, sentence: str) -> None:
        """Say why something is not done."""
        self._controller.send(ev.Refused(sentence))

    # -- saving ---------------------------------------------------------------------------------------------

    def ask_to_save(self, checked: bool = False, *, anew: bool = False) -> None:
        """Save the list; if it is in no project, or `anew` is true, ask for the name of a new one."""
        folder = None if anew else self._folder
        folder = folder or ask_project_path(self._dock, SUFFIX, self._dock.study.front_folder)
        if folder is not None:
            self._copies.ask(self._study.images, self._dock)
            self._changes += 1
            self._submit(folder)

    def catch_up(self) -> None:
        """Take over what was painted in the last moment, and on layers of images behind."""
        self._controller.strokes.flush()
        chosen = self._controller.state.chosen
        if self._study.catch_up(None if chosen is None else chosen.key):
            self._on_edited()

    def save_as(self, folder: Path) -> None:
        """Make a project of the list, and keep it up to date from now on."""
        self._submit(folder)

    def save_copy(self, folder: Path) -> None:
        """Go on in a copy of the project, which is saved first and stays as it is then."""
        if self._begin():
            self._save_before(partial(self._copy, folder))

    def _copy(self, folder: Path) -> None:
        copy = partial(self._keeper.copy_to, folder)
        self.worker.run(copy, partial(self._on_copied, self._saved), self._on_failure)

    def _on_copied(self, changes: int, folder: Path) -> None:
        self._busy = False
        self._on_saved(changes, None, folder)

    def save_now(self) -> None:
        """Write what has changed, if there is a project to hold it."""
        self.catch_up()
        if self._folder is not None and self.unsaved and not self._busy:
            self._submit(self._folder)

    def _submit(self, folder: Path, then: Callable[[], None] | None = None) -> None:
        self._timer.stop()
        state = self._controller.state
        save = partial(
            self._keeper.save,
            folder,
            kept_images(self._study, self._copies.allowed),
            self._study.classes(state),
            learned_model(self._study, state),
            state.depth if are_deep(each.source for each in self._study.images) else "off",
            "image" if state.match_exposure else "together",
        )
        self.worker.run(save, partial(self._on_saved, self._changes, then), self._on_failure)

    def _on_saved(self, changes: int, then: Callable[[], None] | None, folder: Path) -> None:
        if self._folder != folder:
            self._controller.send(ev.Noted(f"Project {folder.name} made; it is kept up to date from now on."))
            self._awaited.keeper = self._keeper if self._awaited.keeper is self._keeper else None
            if self._folder is None:
                self._study.forget_missing()  # they are not in what was saved
        self._folder, self._saved, self._failure = folder, changes, None
        if then is not None:
            then()
        elif self.unsaved:
            self._timer.start()
        self._draw()
        self.changed.emit()

    def _on_edited(self) -> None:
        """Something that a project keeps has changed."""
        self._changes += 1
        if self._folder is not None and not self._timer.isActive():
            self._timer.start()
        self._draw()

    # -- another dock ---------------------------------------------------------------------------------------

    @property
    def closed(self) -> ClosedProject | None:
        """The project as it was when the dock was closed; None if the list was in none."""
        return self._keeper.closed

    def take_up(self, closed: ClosedProject) -> None:
        """Go on with the project of a dock that was closed."""
        self._folder, self._busy = closed.folder, True
        resume = partial(self._keeper.resume, closed)
        self.worker.run(resume, partial(self._on_resumed, closed), partial(self._on_resumed, closed, False))
        self._draw()

    def _on_resumed(self, closed: ClosedProject, resumed: bool, reason: str = "") -> None:
        self._busy = False
        if not resumed:
            self._folder = None
            reason = reason or f"{closed.folder.name} was changed by another program since."
            self.refuse(f"{reason} The list here is in no project now; its strokes are kept aside.")
        else:
            take_model(self._study, self._controller, self._keeper.classifier, closed.folder.name)
            if self.unsaved:
                self._timer.start()
        self._draw()
        self.changed.emit()

    # -- the thread and the end -----------------------------------------------------------------------------

    def _on_failure(self, sentence: str) -> None:
        self._controller.send(ev.Refused(sentence))
        self._failure = None if self._busy and not self.unsaved else sentence
        self._busy = False
        if self._folder is not None and self.unsaved:
            self._timer.start()
        self._draw()
        self.changed.emit()

    def wait(self) -> None:
        """Wait for files that are being read or written."""
        self.worker.wait()

    def wait_and_tell(self) -> None:
        """The same, and take over the results."""
        self.worker.wait_and_tell()

    def finish(self) -> None:
        """Save what is not saved yet, and wait for it."""
        self._busy = False
        self.save_now()
        self.wait_and_tell()

    def shutdown(self) -> None:
        """Let other programs open the project."""
        self._timer.stop()
        self._awaited.close()
        self.worker.run(self._keeper.close)
        self.worker.close()

    def _draw(self) -> None:
        self._panel.show_project(
            self._folder,
            saved=not self.unsaved,
            problem=self._failure,
            can_open=not self._busy,
            can_save=not self._busy and (bool(self._study.images) or self._folder is not None),
        )
