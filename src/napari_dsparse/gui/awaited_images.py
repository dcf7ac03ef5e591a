"""Images of a project that are in no file, and come back when a layer with their pixels is opened."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_dsparse.gui.kept import open_layers, pixels_of, study_images
from napari_dsparse.gui.study import Study
from napari_dsparse.live import events as ev
from napari_dsparse.live.kept_images import OpenedImage
from napari_dsparse.live.project_keeper import ProjectKeeper
from napari_dsparse.live.unsaved import UnsavedKeeper

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dsparse.gui.dock import SegmentationDock
    from napari_dsparse.gui.project_desk import ProjectDesk


class AwaitedImages(QObject):
    """Lists such images, with their strokes, once they are open.

    Parameters
    ----------
    dock : SegmentationDock
    study : Study
    projects : ProjectDesk
    """

    def __init__(self, dock: SegmentationDock, study: Study, projects: ProjectDesk) -> None:
        super().__init__(projects)
        self._dock, self._study, self._projects = dock, study, projects
        #: Holds the project; None while no image is awaited.
        self.keeper: ProjectKeeper | UnsavedKeeper | None = None
        dock.viewer.layers.events.inserted.connect(self._on_layer)

    def close(self) -> None:
        """Wait no longer."""
        self._dock.viewer.layers.events.inserted.disconnect(self._on_layer)

    def _on_layer(self, event: Any = None) -> None:
        """An image was opened: perhaps one that strokes of the project are waiting for."""
        if self.keeper is not None and not self._projects.busy:
            layers = open_layers(self._dock)
            find = partial(self.keeper.find_open, pixels_of(self._dock, layers))
            then = partial(self._take, layers, self.keeper)
            self._projects.worker.run(find, then, self._refuse)

    def _take(
        self,
        layers: Sequence[Image],
        keeper: ProjectKeeper | UnsavedKeeper,
        opened: Sequence[OpenedImage],
    ) -> None:
        if keeper is self.keeper and opened:
            free = [e for e in opened if e.layer is None or self._study.of_layer(layers[e.layer]) is None]
            images, entries, labels = study_images(self._dock, free, layers)
            unused = [each.entry for each in opened if each.entry not in entries.values()]
            self._projects.worker.run(partial(keeper.take, entries, labels, unused))
            if images:
                self._study.images += images
                found = {*entries.values()}
                self._study.missing = tuple(e for e in self._study.missing if e.entry not in found)
                self._study.announce()

    def _refuse(self, sentence: str) -> None:
        self._dock.controller.send(ev.Refused(sentence))
