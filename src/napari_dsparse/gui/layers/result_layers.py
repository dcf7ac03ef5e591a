"""Result layers: made once, filled tile by tile, and kept apart from the user's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal

from napari_dsparse.classifier.class_edits import ClassEdit
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.files.chunk_store import chunk_store
from napari_dsparse.gui.layers.class_look import probability_colormap, probability_look
from napari_dsparse.gui.layers.colormap_warmup import warm_up_colormaps
from napari_dsparse.gui.layers.corrections import Corrections
from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.gui.layers.marks import belongs, disown, is_called, mark_ours, our_role
from napari_dsparse.gui.layers.overlay import Overlay
from napari_dsparse.gui.layers.result_pixels import add, blank, fits, put, renumber, whole_of
from napari_dsparse.gui.layers.viewer import in_viewer, insert_above, layers_of, unwrapped
from napari_dsparse.live.messages import TileDone
from napari_dsparse.prediction.tile_prediction import label_dtype

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels, Layer

#: Key of the uncertainty map, where probability maps have the number of their class.
UNCERTAINTY = 0
#: Look of the uncertainty map; certain pixels leave the image as it is.
UNCERTAINTY_LOOK = {"colormap": "inferno", "contrast_limits": (0, 1), "blending": "additive"}
#: A whole layer is redrawn at most this often (seconds), and never more than a twentieth of the time.
REDRAW_SECONDS, REDRAW_SHARE = 0.25, 0.05


class ResultLayers(QObject):
    """Segmentation, uncertainty and probabilities of one image.

    Parameters
    ----------
    viewer : Viewer
    image_layer : Image
        Names the results, which go right above it.
    frame : ImageFrame
    overlay : Overlay
        The look of the results.
    parent : QObject
    """

    #: There is another segmentation layer, or none any more.
    replaced = Signal()
    #: The user removed the segmentation.
    removed = Signal()
    #: The segmentation is another than before, or there is none any more.
    changed = Signal()
    #: A tile could not be kept, and why, as a sentence.
    failed = Signal(str)

    def __init__(
        self,
        viewer: Viewer,
        image_layer: Image,
        frame: ImageFrame,
        overlay: Overlay,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        #: The layer of the image.
        self.image = image_layer
        self.frame = frame
        self._overlay = overlay
        #: What the user does to the segmentation, which counts for the strokes.
        self.corrections = Corrections(self)
        self._segmentation: Labels | None = None
        self._maps: dict[int, Image] = {}  # by number of the class; uncertainty under one of its own
        self._map_colors: dict[int, str] = {}  # of the classes whose maps are shown, as it was last set
        self._maps_shown = (False, False)
        self._classes: tuple[ClassInfo, ...] = ()
        self._store = chunk_store()
        self._stale: dict[str, Layer] = {}
        #: Goes up with every change of the segmentation.
        self.revision = 0
        self._redraw = QTimer(self)
        self._redraw.setSingleShot(True)
        self._redraw.timeout.connect(self._redraw_stale)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def segmentation(self) -> Labels | None:
        """The segmentation layer, if there is one in the viewer."""
        layer = self._segmentation
        return layer if layer is not None and in_viewer(self._viewer, layer) else None

    @property
    def labels(self) -> Any:
        """The segmentation in the shape that the engine uses, (..., Y, X), an array or a chunked one."""
        layer = self.segmentation
        return None if layer is None else whole_of(layer, self.frame)

    @property
    def maps(self) -> Mapping[int, Image]:
        """Layers of maps: probabilities by number of the class, and the uncertainty."""
        return self._maps

    def go_on_with(
        self, segmentation: Labels, maps: Mapping[int, Image], classes: Sequence[ClassInfo]
    ) -> None:
        """Take up the results that the image had when it was in front before."""
        self._maps |= maps
        self._map_colors |= {number: info.color for number, info in enumerate(classes, start=1)}
        for layer in maps.values():
            self._overlay.cover(layer)
        self._take(segmentation, classes)

    def place(self, image: Image, frame: ImageFrame) -> None:
        """Show further results where an image is now, if these are of it."""
        if image is self.image:
            self.frame = frame

    def show_tile(self, done: TileDone, *, labels: bool = True) -> None:
        """Put a tile where it belongs, making the layers it needs; its maps alone if `labels` is false."""
        self.corrections.flush()
        layer = self._segmentation_for(done.classes)
        if len(done.classes) > len(self._classes):
            self.show_classes(done.classes)
        try:
            self._put_tile(layer, done, labels=labels)
        except OSError as error:
            self._note_change()  # it was put where there is room
            self._mark_stale("segmentation", layer)
            self._say(error)

    def _say(self, error: OSError) -> None:
        reason = " ".join(str(error).split())
        self.failed.emit(f"A large result could not be kept ({reason}); make room on the disk.")

    def _put_tile(self, layer: Labels, done: TileDone, *, labels: bool) -> None:
        with ExitStack() as maps:  # they are filled in any case, the last callback first
            if done.probabilities is not None:
                shown = enumerate(zip(done.classes, done.probabilities, strict=True), start=1)
                for number, (info, probability) in reversed(list(shown)):
                    maps.callback(self._fill_map, number, info, done, probability)
            if done.uncertainty is not None:
                maps.callback(self._fill_map, UNCERTAINTY, None, done, done.uncertainty)
            if not labels:
                return
            if put(layer, self.frame, done, done.labels):
                self._note_change()
            if layer.multiscale:
                self._mark_stale("segmentation", layer)
            else:
                index = self.frame.layer_index(done.tile.slices)
                shape = [stop - start for start, stop in (done.tile.rows, done.tile.columns)]
                self._redraw_part(layer, index, layer.data[index].reshape(shape))

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Show new class names and colours on the segmentation and on the probabilities."""
        self._classes = tuple(classes)
        if self.segmentation is not None:
            self._overlay.show_classes(classes)
        for number, info in enumerate(classes, start=1):
            shown = self._maps.get(number)
            if shown is None or not in_viewer(self._viewer, shown):
                continue
            name = f"{self.image.name} {_kind_of_map(info)}"
            if not (is_called(shown, _kind_of_map(info)) and shown.name.startswith(f"{self.image.name} ")):
                shown.name = name
            if self._map_colors.get(number) != info.color:  # a colormap that the user has chosen stays
                shown.colormap = probability_colormap(info)
                self._map_colors[number] = info.color

    def renumber(self, edit: ClassEdit) -> None:
        """Give what is shown the numbers that its classes have after `edit`; maps of lost classes go."""
        if (layer := self.segmentation) is not None:
            renumber(layer, edit)
            layer.refresh(extent=False, highlight=False)
            self._note_change()
        maps, self._maps, self._map_colors = self._maps, {}, {}
        for number, shown in maps.items():
            new = UNCERTAINTY if number == UNCERTAINTY else edit.number(number)
            if number != UNCERTAINTY and new == 0:
                if in_viewer(self._viewer, shown):
                    self._viewer.layers.remove(shown)
            elif new in self._maps:  # two classes became one, and so do their probabilities
                add(self._maps[new], shown)
                self._mark_stale(f"map {new}", self._maps[new])
                if in_viewer(self._viewer, shown):
                    self._viewer.layers.remove(shown)
            else:
                self._maps[new] = shown
                mark_ours(shown, f"map {new}", self.image)

    def finish(self) -> None:
        """Redraw what is still to be redrawn, thumbnails included."""
        if (layer := self.segmentation) is not None:
            layer.refresh(extent=False, highlight=False)
        self._redraw_stale()

    def show_maps(self, *, uncertainty: bool, probabilities: bool) -> None:
        """Show or hide the maps when the choice of maps changes; otherwise visibility is up to the user."""
        wanted = uncertainty, probabilities
        if wanted == self._maps_shown:
            return
        changed = [one != other for one, other in zip(wanted, self._maps_shown, strict=True)]
        self._maps_shown = wanted
        for number, layer in self._maps.items():
            kind = 0 if number == UNCERTAINTY else 1
            if changed[kind] and in_viewer(self._viewer, layer):
                layer.visible = wanted[kind]

    def close(self) -> None:
        """Stop redrawing and listening; the layers stay."""
        self._redraw.stop()
        self._stale.clear()
        self._let_go()
        self._overlay.clear()
        self._maps.clear()
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    # -- segmentation ---------------------------------------------------------------------------------------

    def _segmentation_for(self, classes: Sequence[ClassInfo]) -> Labels:
        from napari.layers import Labels

        dtype = label_dtype(len(classes))
        layer = self.segmentation
        if layer is not None and layer.data.dtype == dtype:
            return layer
        self._let_go()
        name = f"{self.image.name} segmentation"
        layer = self._ours(Labels, "segmentation", "segmentation", dtype)
        if layer is None:
            data = blank(self.frame, self.image, dtype, self._store)
            warm_up_colormaps().join()
            layer = Labels(data, name=name, opacity=self._overlay.opacity, **self.frame.placement)
            self._add(layer, "segmentation")
        self._take(layer, classes)
        return layer

    def _take(self, layer: Labels, classes: Sequence[ClassInfo]) -> None:
        self._segmentation = layer
        self._overlay.take(layer)
        self.show_classes(classes)
        self.corrections.watch(layer)
        self.replaced.emit()

    def _on_removed(self, event: Any) -> None:
        self._overlay.leave(unwrapped(event.value))
        if self._segmentation is not None and unwrapped(event.value) is self._segmentation:
            self._let_go()
            self.replaced.emit()
            self.removed.emit()

    def _let_go(self) -> None:
        if self._segmentation is not None:
            self.corrections.watch(None)
            self._overlay.leave(self._segmentation)
            self._segmentation = None
            self._note_change()

    def _note_change(self) -> None:
        self.revision += 1
        self.changed.emit()

    def _redraw_part(self, layer: Labels, index: tuple[int | slice, ...], labels: npt.NDArray[Any]) -> None:
        """Send only the tile to the graphics card, as napari's brush does; redrawing all takes too long."""
        dims = self._viewer.dims
        offset = dims.ndim - layer.ndim
        shown = [axis - offset for axis in dims.displayed]
        if not layer.visible or dims.ndisplay != 2 or shown != list(self.frame.spatial_axes[-2:]):
            self._mark_stale("segmentation", layer)
            return
        point = np.round(layer.world_to_data(dims.point)).astype(int)
        for axis, where in enumerate(index):
            if isinstance(where, int) and where != point[axis]:
                return  # another slice than the one on screen
        corner = [where.start for where in (index[axis] for axis in shown) if isinstance(where, slice)]
        layer.events.labels_update(data=np.ascontiguousarray(labels), offset=corner)

    # -- maps -----------------------------------------------------------------------------------------------

    def _fill_map(
        self,
        number: int,
        info: ClassInfo | None,
        done: TileDone,
        values: npt.NDArray[np.float32],
    ) -> None:
        layer = self._map_for(number, info)
        self._mark_stale(f"map {number}", layer)
        put(layer, self.frame, done, values)

    def _map_for(self, number: int, info: ClassInfo | None) -> Image:
        """The layer of a class's probability, or of uncertainty where there is no class."""
        from napari.layers import Image

        layer = self._maps.get(number)
        if layer is not None and in_viewer(self._viewer, layer):
            return layer
        role = f"map {number}"
        look = UNCERTAINTY_LOOK if info is None else probability_look(info)
        layer = self._ours(Image, _kind_of_map(info), role, np.float32)
        if layer is None:
            data = blank(self.frame, self.image, np.float32, self._store)
            name = f"{self.image.name} {_kind_of_map(info)}"
            layer = Image(data, name=name, **look, **self.frame.placement)
            self._add(layer, role)
        if info is not None:
            self._map_colors[number] = info.color
        self._maps[number] = layer
        self._overlay.cover(layer)
        return layer

    # -- both -----------------------------------------------------------------------------------------------

    def _ours(self, of: type[Any], kind: str, role: str, dtype: npt.DTypeLike) -> Any:
        """A layer we made earlier for this image, perhaps before the dock was closed and opened again.

        One that cannot hold such values is the user's from now on.
        """
        for layer in list(layers_of(self._viewer, of)):
            ours = belongs(layer, self.image) and our_role(layer) == role
            if ours and is_called(layer, kind) and tuple(layer.data.shape) == self.frame.layer_shape:
                if fits(layer, self.frame, dtype):
                    return layer
                disown(layer)
        return None

    def _add(self, layer: Layer, role: str) -> None:
        """Insert right above the image, under the strokes, leaving the brush where it is."""
        mark_ours(layer, role, self.image)
        insert_above(self._viewer, self.image, layer)

    def _mark_stale(self, key: str, layer: Layer) -> None:
        self._stale[key] = layer
        if not self._redraw.isActive():
            self._redraw.start(int(REDRAW_SECONDS * 1000))

    def _redraw_stale(self) -> None:
        started = time.perf_counter()
        redraws: list[Callable[..., None]] = [layer.refresh for layer in self._stale.values()]
        self._stale.clear()
        for refresh in redraws:
            refresh(thumbnail=False, highlight=False, extent=False)
        cost = time.perf_counter() - started
        if cost > REDRAW_SECONDS * REDRAW_SHARE:  # a large layer: keep the window free in between
            self._redraw.start(int(cost / REDRAW_SHARE * 1000))


def _kind_of_map(info: ClassInfo | None) -> str:
    """The end of a map's name: that of a class's probability, or of uncertainty where there is no class."""
    return "uncertainty" if info is None else f"probability {info.name}"
