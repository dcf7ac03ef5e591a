"""The menu of projects that were open last."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu

from napari_dsparse.files.project_folder import DESCRIPTION
from napari_dsparse.gui.widgets.dialogs import confirm
from napari_dsparse.gui.widgets.plain import plain
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
        self.menu.aboutToShow.connect(self._look)  # drives come and go: right the next time
        self.menu.triggered.connect(self._on_triggered)
        self._button.setMenu(self.menu)
        projects.changed.connect(self._on_changed)
        self._show(())
        self._look()

    def _look(self) -> None:
        self._projects.worker.run(recent_projects, self._show)

    def _on_changed(self) -> None:
        folder = self._projects.folder
        if folder is not None and folder != self._remembered:
            self._remembered = folder
            self._projects.worker.run(partial(remember_project, folder), self._show)

    def _show(self, recent: tuple[RecentProject, ...]) -> None:
        self._button.setEnabled(bool(recent))
        if recent == self._recent:
            return
        self._recent = recent
        self.menu.clear()
        for each in recent:
            name = each.folder.name.replace("&", "&&")
            action = self.menu.addAction(f"{name} (missing)" if each.missing else name)
            action.setToolTip(plain(str(each.folder)))
            action.setData(str(each.folder))

    def _on_triggered(self, action: QAction) -> None:
        folder = Path(action.data())
        if (folder / DESCRIPTION).exists():
            self._projects.open_asked(folder)
            return
        question = f"{folder} is not there now. Take it off the list? Nothing else is removed."
        if confirm(self._dock, "Recent projects", question):
            self._projects.worker.run(partial(forget_project, folder), self._show)
