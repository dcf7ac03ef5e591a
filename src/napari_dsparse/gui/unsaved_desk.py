"""Strokes that are in no project: kept aside by themselves, offered again later, and said at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError
from napari_dsparse.gui import project_desk
from napari_dsparse.gui.kept import kept_image
from napari_dsparse.gui.project_desk import ProjectDesk
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.study_image import StudyImage
from napari_dsparse.gui.unlisted import UnlistedStrokes
from napari_dsparse.gui.widgets.dialogs import confirm
from napari_dsparse.gui.widgets.unsaved_dialog import AtTheEnd, ProjectAtHand, ask_at_the_end
from napari_dsparse.images.painted import is_painted
from napari_dsparse.live import events as ev
from napari_dsparse.live.kept_images import KeptImage
from napari_dsparse.live.project_keeper import ClosedProject
from napari_dsparse.live.unsaved import (
    MOST_COPIED,
    UnsavedKeeper,
    UnsavedStrokes,
    discard_unsaved,
    find_unsaved,
    unsaved_folder,
)

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock

#: Seconds that a closing window waits for files of the list that are being read, before it asks.
_READ_SECONDS = 5.0


#: A window that is to close has been hidden by then.
STAYS_AFTER_MILLISECONDS = 500


class UnsavedDesk(QObject):
    """Keeps the strokes of this window aside while they are in no project, and offers those of others.

    The list and the images beside it are kept apart: each has its own table of classes.

    Parameters
    ----------
    dock : SegmentationDock
    study : Study
    projects : ProjectDesk
    """

    def __init__(self, dock: SegmentationDock, study: Study, projects: ProjectDesk) -> None:
        super().__init__(dock)
        self._dock, self._study, self._projects = dock, study, projects
        self._worker, self._controller = projects.worker, dock.controller
        self._notice = dock.panel.unsaved_notice
        self._home = unsaved_folder()
        self._of_list, self._of_others = UnsavedKeeper(self._home), UnsavedKeeper(self._home)
        #: Images beside the list with strokes, and the table of classes of the one that was in front last.
        self.others = UnlistedStrokes(dock, study, self)
        self.classes: tuple[ClassInfo, ...] = ()
        self._changes = self._kept = 0
        self._failure: str | None = None
        self._offered: tuple[UnsavedStrokes, ...] = ()
        self._put_off = self._discarding = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(int(1000 * project_desk.AUTOSAVE_SECONDS))
        self._timer.timeout.connect(self.save_now)
        self._staying = QTimer(self)
        self._staying.setSingleShot(True)
        self._staying.setInterval(STAYS_AFTER_MILLISECONDS)
        self._staying.timeout.connect(self._on_staying)
        study.edited.connect(self._on_edited)
        study.removed.connect(self.others.adopt)
        study.replaced.connect(self.others.know)
        self.others.edited.connect(self._on_edited)
        projects.changed.connect(self._on_project)
        projects.keep_aside, projects.leave_aside = self._save_then, self._of_list.leave
        self._notice.open_button.clicked.connect(self._open)
        self._notice.discard_button.clicked.connect(self._ask_to_discard)
        self._notice.later_button.clicked.connect(self._put_all_off)

    # -- keeping --------------------------------------------------------------------------------------------

    def _on_edited(self) -> None:
        self._changes += 1
        self._discarding = False
        if not self._timer.isActive():
            self._timer.start()

    def _on_project(self) -> None:
        """The list is in a project now, or another one was opened, or saving failed."""
        self._changes += 1
        self.save_now()
        self.look()

    def save_now(self) -> None:
        """Keep what has changed."""
        self._save(None, self._on_failure)

    def _save_then(self, then: Callable[[], None], failed: Callable[[str], None]) -> None:
        self._changes += 1
        self._save(then, failed)

    def _save(self, then: Callable[[], None] | None, failed: Callable[[str], None]) -> None:
        self._timer.stop()
        self._projects.catch_up()
        self.others.catch_up()
        if self._changes != self._kept and not self._discarding:
            state = self._controller.state
            if state.chosen is not None and state.classes and not state.studied:
                self.classes = state.classes
            listed, others = self._whole_list(), self._painted(self.others.images)
            save = partial(
                _save_both,
                (self._of_list, listed, self._study.classes(state)),
                (self._of_others, others, self.classes),
                depth=state.depth,
                normalise="image" if state.match_exposure else "together",
            )
            self._worker.run(save, partial(self._on_kept, self._changes, then), failed)
        elif then is not None:
            then()

    def _listed(self) -> list[KeptImage]:
        return [] if self._projects.holds_list else self._painted(self._study.images)

    def _whole_list(self) -> list[KeptImage]:
        """Images of the list that are painted on, if any are, and the others that are in files."""
        if not (painted := self._listed()):
            return []
        known = {each.number for each in painted}
        rest = [each for each in self._study.images if each.number not in known and each.place is not None]
        return [*painted, *(replace(kept_image(each), labels=None) for each in rest)]

    def _painted(self, images: Sequence[StudyImage]) -> list[KeptImage]:
        painted = [each for each in images if is_painted(each.labels)]
        kept = [kept_image(each) for each in painted]
        return [replace(each, copied=each.bytes <= MOST_COPIED) for each in kept]

    def _on_kept(self, changes: int, then: Callable[[], None] | None, whole: bool) -> None:
        self._kept, self._failure = changes if whole else -1, None
        if self._changes != self._kept:
            self._timer.start()
        if then is not None:
            then()

    def _on_failure(self, sentence: str) -> None:
        if self._failure is None:  # said once, not after every stroke
            self._controller.send(ev.Refused(sentence))
        self._failure = sentence
        self._timer.start()

    # -- offering -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look for strokes that other windows left."""
        self._worker.run(partial(find_unsaved, self._home), self._offer)

    def _offer(self, found: tuple[UnsavedStrokes, ...]) -> None:
        self._offered = found
        if not found or self._put_off:
            self._notice.hide()
            return
        first, more = found[0], len(found) - 1
        follow = "" if not more else " One older follows." if more == 1 else f" {more} older ones follow."
        self._notice.say(
            first.sentence + follow,
            tip="\n".join((*first.images, f"Kept in {first.folder}")),
            can_open=first.problem is None,
        )

    def _open(self) -> None:
        if self._offered:
            self._notice.hide()  # it is shown again if that fails
            self._projects.open_unsaved(self._offered[0].folder, self._of_list)

    def _ask_to_discard(self) -> None:
        if self._offered:
            first = self._offered[0]
            question = f"{first.title}: discard them for good? They cannot be brought back."
            if confirm(self._dock, "Discard strokes", question):
                self._worker.run(partial(discard_unsaved, first.folder), self._after, self._refuse)

    def _after(self, result: Any) -> None:
        self.look()

    def _refuse(self, sentence: str) -> None:
        self._controller.send(ev.Refused(sentence))
        self.look()

    def _put_all_off(self) -> None:
        self._put_off = True
        self._notice.hide()

    # -- the end --------------------------------------------------------------------------------------------

    @property
    def _names(self) -> list[str]:
        """Names of the images with strokes that are in no project."""
        return [each.name for each in (*self._listed(), *self._painted(self.others.images))]

    def may_close(self) -> bool:
        """Say before the window closes that strokes are in no project; False if it must stay open.

        Nobody is asked who cannot answer: a program that closes a viewer empties it first.
        """
        self._discarding = False
        if not len(self._dock.viewer.layers):
            return True
        if not self._all_read():
            return False
        self._projects.finish()
        self.save_now()
        self._projects.wait_and_tell()
        names = self._names
        if not names:
            return True
        answer = ask_at_the_end(
            self._dock, names, self._projects.failure, self._failure, self._project_at_hand()
        )
        if answer is AtTheEnd.SAVE:
            self._dock.study.add_entries([e for e in self.others.images if not self._study.holds(e)])
            self._projects.ask_to_save(anew=not self._projects.holds_list)
            self._projects.wait_and_tell()
            return not self._names
        self._discarding = answer is AtTheEnd.DISCARD
        if self._discarding:
            self._staying.start()
        return answer is not AtTheEnd.STAY

    def _project_at_hand(self) -> ProjectAtHand | None:
        """The project that strokes beside the list may be added to."""
        folder = self._projects.folder
        if folder is None or not self._projects.holds_list:
            return None
        beside = [each for each in self.others.images if is_painted(each.labels)]
        table = self._study.classes(self._controller.state)
        new = [each for each in beside if not self._study.holds(each)]
        names = [info.name for info in table]
        same = all(info.name in names[number : number + 1] for number, info in enumerate(self.classes))
        words = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        return ProjectAtHand(
            folder.name,
            any(self._study.fits(each.source) for each in new),
            "" if same or not names else f"The project's classes are {words}.",
            replaced=not new,
        )

    def _on_staying(self) -> None:
        """The window is open still: something else kept it, perhaps napari's own question."""
        if QApplication.activeModalWidget() is not None:  # which is not answered yet
            self._staying.start()
        else:
            self._discarding = False

    def _all_read(self) -> bool:
        """Wait for files that were added to the project; False if the window must stay open for them."""
        study = self._dock.study
        if self._projects.folder is None or not study.unread:
            return True
        study.wait(_READ_SECONDS)
        names = study.unread
        if not names:
            return True
        what = f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more are"
        them = "it" if len(names) == 1 else "them"
        return confirm(
            self._dock, "Close", f"{what} still being read, and not in the project yet. Close without {them}?"
        )

    def on_hidden(self) -> None:
        """The window has been closed, perhaps for good."""
        self._staying.stop()
        if self._discarding:
            self._timer.stop()
            self._kept = self._changes
            for keeper in (self._of_list, self._of_others):
                self._worker.run(partial(keeper.save, (), ()), failed=self._refuse)
        else:
            self.save_now()

    def shutdown(self) -> None:
        """Leave what is kept to the next window, and say so if this one stays open."""
        self.save_now()
        self._staying.stop()
        names = self._names
        if names and not self._discarding and _a_window_is_open():
            show_info(f"Strokes on {', '.join(names)} are in no project; the dock lists them when it opens.")
        self._timer.stop()
        for keeper in (self._of_list, self._of_others):
            self._worker.run(keeper.close)

    # -- another dock ---------------------------------------------------------------------------------------

    @property
    def closed(self) -> tuple[ClosedProject | None, ClosedProject | None]:
        """Strokes of the list, and of the others, as they were kept when the dock was closed."""
        return self._of_list.closed, self._of_others.closed

    def take_up(self, closed: tuple[ClosedProject | None, ClosedProject | None]) -> None:
        """Go on keeping strokes where a dock that was closed kept them."""
        for keeper, kept in zip((self._of_list, self._of_others), closed, strict=True):
            if kept is not None:
                self._worker.run(partial(keeper.resume, kept), self._on_resumed, self._on_not_resumed)

    def _on_resumed(self, resumed: bool) -> None:
        if not resumed:
            self._on_edited()

    def _on_not_resumed(self, sentence: str) -> None:
        self._on_edited()  # another window took them: these here are kept anew


def _a_window_is_open() -> bool:
    return any(isinstance(each, QMainWindow) and each.isVisible() for each in QApplication.topLevelWidgets())


def _save_both(
    *kept: tuple[UnsavedKeeper, Sequence[KeptImage], Sequence[ClassInfo]], depth: str, normalise: str
) -> bool:
    """Save each of several lists, also where another one fails; True if nothing is left to be saved."""
    failure: DsparseError | None = None
    whole = True
    for keeper, images, classes in kept:
        try:
            whole = keeper.save(images, classes, depth, normalise) and whole
        except DsparseError as error:
            failure = error
    if failure is not None:
        raise failure
    return whole
