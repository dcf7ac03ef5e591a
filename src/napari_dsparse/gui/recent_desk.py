"""The menu of projects: a new one, a copy of the present one, and those that were open last."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu

from napari_dsparse.files.project_folder import DESCRIPTION, SUFFIX
from napari_dsparse.gui.widgets.dialogs import ask_folder, ask_project_path, confirm
from napari_dsparse.gui.widgets.distinct_names import distinct_names
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.live import events as ev
from napari_dsparse.live.recent import RecentProject, forget_project, recent_projects, remember_project

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock
    from napari_dsparse.gui.project_desk import ProjectDesk


class RecentDesk(QObject):
    """Remembers the projects that are opened and made here, and opens one that is chosen.

    Parameters
    ----------
    dock : SegmentationDock
    projects : ProjectDesk
    """

    def __init__(self, dock: SegmentationDock, projects: ProjectDesk) -> None:
        super().__init__(dock)
        self._dock, self._projects = dock, projects
        self._remembered: Path | None = None
        self._recent: tuple[RecentProject, ...] = ()
        self._button = dock.panel.project_recent_button
        self.menu = QMenu(self._button)
        self.menu.setToolTipsVisible(True)
        self._new = self._action(
            "New project", "project_new_action", "Close this list and begin an empty one."
        )
        self._copy = self._action(
            "Save as…", "project_save_as_action", "Go on in a copy under another name; this one stays."
        )
        dock.panel.project_open_button.clicked.connect(self._ask_to_open)
        self._new.triggered.connect(self.ask_to_begin)
        self._copy.triggered.connect(self.ask_to_copy)
        self.menu.aboutToShow.connect(self._look)  # drives come and go: right the next time
        self.menu.triggered.connect(self._on_triggered)
        self._button.setMenu(self.menu)
        projects.changed.connect(self._on_changed)
        self._fill()
        self._look()

    def _action(self, text: str, name: str, tip: str) -> QAction:
        action = QAction(text, self)
        action.setObjectName(name)
        action.setToolTip(tip)
        return action

    def _ask_to_open(self) -> None:
        for folder in ask_folder(self._dock, f"Open project (a folder NAME{SUFFIX})"):
            self.open_asked(folder)

    def open_asked(self, folder: Path) -> None:
        """Open a project; a list that is in none is replaced only after asking."""
        images = self._dock.study.study.images
        if self._projects.folder is None and any(each.labels is not None for each in images):
            question = (
                "The images listed now are in no project. Open another list? Strokes are kept aside. Layers "
                "that were opened from the list close, with their results; layers that you opened yourself "
                "stay."
            )
            if not confirm(self._dock, "Open project", question):
                return
        self._projects.open(folder)

    def ask_to_begin(self) -> None:
        """Begin a new project, after saying what becomes of the present list."""
        images, folder = self._dock.study.study.images, self._projects.folder
        if images or folder is not None:
            kept = (
                "The images listed now are in no project; strokes on them are kept aside."
                if folder is None
                else f"{folder.name} is saved and closed."
            )
            question = (
                f"Begin a new project? {kept} Layers that were opened from the list close, with their "
                "results; layers that you opened yourself stay."
            )
            if not confirm(self._dock, "New project", question):
                return
        self._projects.new()

    def ask_to_copy(self) -> None:
        """Ask for another name, and go on under it; a list in no project is saved as one."""
        if self._projects.folder is not None:
            path = ask_project_path(self._dock, SUFFIX, self._dock.study.front_folder)
            if path is not None:
                self._projects.save_copy(path)
        elif self._dock.study.study.images:
            self._projects.ask_to_save()
        else:
            self._dock.controller.send(ev.Refused("There is nothing to save yet; add images to the list."))

    def _look(self) -> None:
        self._projects.worker.run(recent_projects, self._show)

    def _on_changed(self) -> None:
        folder = self._projects.folder
        if folder is not None and folder != self._remembered:
            self._remembered = folder
            self._projects.worker.run(partial(remember_project, folder), self._show)

    def _show(self, recent: tuple[RecentProject, ...]) -> None:
        if recent != self._recent:
            self._recent = recent
            self._fill()

    def _fill(self) -> None:
        self.menu.clear()
        self.menu.addAction(self._new)
        self.menu.addAction(self._copy)
        if self._recent:
            self.menu.addSeparator()
        names = distinct_names([(each.folder.name, each.folder) for each in self._recent])
        for each, name in zip(self._recent, (shown.replace("&", "&&") for shown in names), strict=True):
            action = self.menu.addAction(f"{name} (missing)" if each.missing else name)
            action.setToolTip(plain(str(each.folder)))
            action.setData(str(each.folder))

    def _on_triggered(self, action: QAction) -> None:
        if action.data() is None:  # of the first two, which act by themselves
            return
        folder = Path(action.data())
        if (folder / DESCRIPTION).exists():
            self.open_asked(folder)
            return
        question = f"{folder} is not there now. Take it off the list? Nothing else is removed."
        if confirm(self._dock, "Recent projects", question):
            self._projects.worker.run(partial(forget_project, folder), self._show)
