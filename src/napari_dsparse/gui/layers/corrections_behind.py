"""Paint on segmentations of images that are not in front."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_dsparse.gui.layers.corrections import Corrections
from napari_dsparse.gui.layers.marks import disown, our_role
from napari_dsparse.gui.layers.paint_history import paint_step
from napari_dsparse.gui.layers.viewer import in_viewer, unwrapped

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from napari import Viewer
    from napari.layers import Labels


class CorrectionsBehind(QObject):
    """Watches segmentations whose images were left, until they are in front again or removed.

    Paint on one counts for the strokes that its image had. Where there are none, it stays where it was
    painted, and the layer is the user's from then on: no result is written over it.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    #: Strokes of an image behind; flat indices of pixels painted on its segmentation, and the number of each.
    painted = Signal(object, object, object)
    #: Strokes and segmentation of an image behind, and the tool that the user takes on the latter.
    tool_taken = Signal(object, object, str)
    #: A segmentation that was removed, or is the user's from now on.
    lost = Signal(object)

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._watched: list[_Watch] = []
        viewer.layers.events.removed.connect(self._on_removed)

    def watch(self, segmentation: Labels, strokes: Labels | None) -> None:
        """Watch the segmentation of an image that is left, which had these strokes."""
        self.drop(segmentation)
        self._watched.append(_Watch(self, self._viewer, segmentation, strokes))

    def flush(self) -> None:
        """Pass on what was painted."""
        for each in self._watched[:]:
            each.flush()

    def drop(self, segmentation: Labels | None) -> None:
        """Watch this one no more, nor any that is the user's by now; what was painted on it is passed on."""
        for each in self._watched[:]:
            if each.segmentation is not segmentation and our_role(each.segmentation) is not None:
                continue
            each.flush()
            self._watched.remove(each)
            each.end()

    def close(self) -> None:
        """Watch nothing any more."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for each in self._watched[:]:
            self.drop(each.segmentation)

    def _on_removed(self, event: Any) -> None:
        for each in [one for one in self._watched if one.segmentation is unwrapped(event.value)]:
            self._watched.remove(each)
            each.end()
            self.lost.emit(each.segmentation)


class _Watch(Corrections):
    """Corrections of one segmentation behind."""

    def __init__(
        self, behind: CorrectionsBehind, viewer: Viewer, segmentation: Labels, strokes: Labels | None
    ) -> None:
        super().__init__(behind)
        self._behind, self._viewer = behind, viewer
        self.segmentation = segmentation
        self._strokes = None if strokes is None else weakref.ref(strokes)
        self.painted.connect(self._on_painted)
        self.tool_taken.connect(self._on_tool)
        self.watch(segmentation)

    def end(self) -> None:
        """Watch no more."""
        self.watch(None)
        self.deleteLater()

    def _strokes_to_paint_on(self) -> Labels | None:
        layer = None if self._strokes is None else self._strokes()
        return layer if layer is not None and in_viewer(self._viewer, layer) else None

    def _on_painted(self, places: npt.NDArray[np.intp], numbers: npt.NDArray[Any]) -> None:
        strokes = self._strokes_to_paint_on()
        if strokes is not None:
            self._behind.painted.emit(strokes, places, numbers)
            return
        self._leave_to_user()
        after = self.segmentation.data.copy()
        after.flat[places] = numbers
        paint_step(self.segmentation, after)

    def _on_tool(self, mode: str) -> None:
        strokes = self._strokes_to_paint_on()
        if strokes is not None:
            self._behind.tool_taken.emit(strokes, self.segmentation, mode)
        else:
            self._leave_to_user()
            self.segmentation.mode = mode

    def _leave_to_user(self) -> None:
        self.watch(None)
        disown(self.segmentation)
        self._behind.lost.emit(self.segmentation)
