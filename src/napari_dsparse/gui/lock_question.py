"""A project that another computer holds, of which nothing can be told from here: asked, and opened."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.files.lock import held_elsewhere, remove_held_elsewhere
from napari_dsparse.gui.widgets.dialogs import confirm

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock
    from napari_dsparse.gui.project_desk import ProjectDesk


class LockQuestion(QObject):
    """Offers to take over the lock of a project that could not be opened.

    Parameters
    ----------
    dock : SegmentationDock
    projects : ProjectDesk
    """

    def __init__(self, dock: SegmentationDock, projects: ProjectDesk) -> None:
        super().__init__(projects)
        self._dock, self._projects = dock, projects

    def ask(self, folder: Path) -> None:
        """Ask, if the project is held elsewhere; open it if the answer is yes."""
        self._projects.worker.run(partial(held_elsewhere, folder), partial(self._ask, folder))

    def _ask(self, folder: Path, held: str | None) -> None:
        question = "Remove the lock and open it here? Two programs that change one project lose work."
        if held is not None and confirm(self._dock, "Open project", f"{held} {question}"):
            self._projects.worker.run(
                partial(remove_held_elsewhere, folder, held), failed=self._projects.refuse
            )
            self._projects.open(folder)
