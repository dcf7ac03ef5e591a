"""The table of an image's objects in a dock of its own, tied to their layer."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_dsparse.gui.layers.class_look import CLASS_COLUMN
from napari_dsparse.gui.layers.image_frame import ImageFrame
from napari_dsparse.gui.layers.objects_layer import is_brush_in_hand, number_at
from napari_dsparse.gui.layers.viewer import center_on, in_viewer
from napari_dsparse.gui.objects_work import FoundObjects
from napari_dsparse.gui.widgets.objects_table import ObjectsTable

if TYPE_CHECKING:
    import pandas as pd
    from napari import Viewer
    from napari.layers import Labels

#: Title of the dock.
TITLE = "Objects"


FOUND_ANEW = "Objects have been found anew since."
PAINTED = "Objects have been changed by hand since."


class _MeasuredLayer(QObject):
    """A layer whose objects are measured: the number selected in it, and what has become of them since."""

    selected = Signal(int)
    changed = Signal()

    def __init__(self, layer: Labels, parent: QObject) -> None:
        super().__init__(parent)
        self.layer = layer
        #: True since the user painted on it, and since it holds objects of other numbers.
        self.painted = self.replaced = False
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        layer.events.selected_label.connect(self._on_selected)

    def let_go(self) -> None:
        """Follow it no longer."""
        self.layer.events.paint.disconnect(self._on_paint)
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.selected_label.disconnect(self._on_selected)
        self.deleteLater()

    def _on_paint(self, event: Any = None) -> None:
        self.painted = True
        self.changed.emit()

    def _on_data(self, event: Any = None) -> None:
        self.replaced = True
        self.changed.emit()

    def _on_selected(self, event: Any = None) -> None:
        if not self.replaced:
            self.selected.emit(int(self.layer.selected_label))


class MeasuredObjects(QObject):
    """Shows a table, goes where a row is chosen, and finds the row of an object.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    save_wanted = Signal()
    #: An object of the image of that key is to be shown, which may be behind others.
    front_wanted = Signal(object)
    #: The objects are no longer those of the table.
    outdated = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._widget: ObjectsTable | None = None
        self._measured: _MeasuredLayer | None = None
        self._measuring: _MeasuredLayer | None = None
        self._frame: ImageFrame | None = None
        self._rows: dict[int, list[int]] = {}
        self._indices: npt.NDArray[np.float64] = np.zeros((0, 2))
        #: The table as it was measured, the name of its image, and of the file that it was saved as last.
        self.table: pd.DataFrame | None = None
        self.image = self.saved_as = ""
        self._key: Hashable = None
        self._click = partial(_on_press, weakref.ref(self))
        viewer.mouse_drag_callbacks.append(self._click)

    @property
    def layer(self) -> Labels | None:
        """The layer of the objects in the table, if both are there."""
        measured = self._measured
        if self._widget is None or measured is None or measured.replaced:
            return None
        return measured.layer if in_viewer(self._viewer, measured.layer) else None

    def work(
        self, layer: Labels, image_name: str, frame: ImageFrame, found: FoundObjects, names: Sequence[str]
    ) -> Callable[[Callable[[float], None], Callable[[], bool]], pd.DataFrame]:
        """A function for another thread that measures what the layer holds by then."""
        if self._measuring is not None:
            self._measuring.let_go()
        self._measuring = _MeasuredLayer(layer, self)
        numbers = frame.engine_view(layer.data)
        return partial(_measure, numbers, image_name, frame, found.labels, found.options.volume, names)

    def show(
        self,
        layer: Labels,
        image_name: str,
        frame: ImageFrame,
        volume: bool,
        table: pd.DataFrame,
        key: Hashable,
    ) -> None:
        """Show a table of the objects in `layer`, on the image of that key, in a dock that is made once."""
        self._follow(layer)
        self._key = key
        self._frame, self.table, self.image = frame, table, image_name
        self.saved_as = ""
        self._indices = _indices(table, frame, volume)
        self._rows = {}
        for row, number in enumerate(table["label"]):
            self._rows.setdefault(int(number), []).append(row)
        # napari finds a label's row by "index", and we a class's name by "class".
        layer.features = table.rename(columns={"label": "index", CLASS_COLUMN: "class number"})
        if self._widget is None:
            self._widget = ObjectsTable()
            self._widget.picked.connect(self._go_to)
            self._widget.save_wanted.connect(self.save_wanted)
            self._widget.closed.connect(self._on_closed)
            self._viewer.window.add_dock_widget(
                self._widget, name=TITLE, area="bottom", add_vertical_stretch=False
            )
        self._widget.show_table(table)
        self._viewer.layers.selection.active = layer
        layer.mode = "pan_zoom"

    def _follow(self, layer: Labels) -> None:
        """Follow the layer of a new table, from the moment that its measuring began."""
        if self._measured is not None:
            self._measured.let_go()
        self._measured, self._measuring = self._measuring or _MeasuredLayer(layer, self), None
        self._measured.selected.connect(self.show_number)
        self._measured.changed.connect(self.outdated)

    def show_number(self, number: int) -> None:
        """Select the row of an object; of one with several, that of the plane on screen."""
        if self._widget is not None:
            rows = self._rows.get(number, [])
            self._widget.show_row(min(rows, key=self._distance) if rows else None)

    def note(self, stale: str) -> None:
        """Say of which image the table is, and if it is out of date.

        Parameters
        ----------
        stale : str
            A sentence if the segmentation is another one since, or may be, else empty.
        """
        measured = self._measured
        if self._widget is None or self.table is None or measured is None:
            return
        count = "1 row" if len(self.table) == 1 else f"{len(self.table):,} rows"
        words = [f"Objects of {self.image}: {count}."]
        if self.saved_as:
            words.append(f"Saved as {self.saved_as}.")
        if measured.replaced:
            words.append(f"{FOUND_ANEW} Measure them again.")
        elif measured.painted:
            words.append(f"{PAINTED} Measure them again.")
        elif stale:
            words.append(stale)
        self._widget.note.setText(" ".join(words))

    def pick(self, event: Any) -> None:
        """Select the object that was clicked on."""
        layer = self.layer
        if layer is not None and layer.visible and not is_brush_in_hand(self._viewer):
            number = number_at(layer, event)
            if number:
                layer.selected_label = number
                self.show_number(number)

    def shutdown(self) -> None:
        """Close the dock of the table, and disconnect from the viewer."""
        self.close()
        if self._click in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._click)

    def close(self) -> None:
        """Close the dock of the table."""
        widget = self._widget
        self._on_closed()
        if widget is not None:
            self._viewer.window.remove_dock_widget(widget)

    def _on_closed(self) -> None:
        for measured in (self._measured, self._measuring):
            if measured is not None:
                measured.let_go()
        self._widget = self._measured = self._measuring = self._frame = self.table = None
        self._rows = {}

    def _go_to(self, row: int) -> None:
        layer, table = self.layer, self.table
        if layer is None or table is None:
            return
        self.front_wanted.emit(self._key)
        layer.visible = True
        layer.selected_label = int(table["label"].iloc[row])
        center_on(self._viewer, layer, tuple(self._indices[row]))

    def _distance(self, row: int) -> float:
        """Distance of the row's plane from the one on screen."""
        layer, frame = self.layer, self._frame
        if layer is None or frame is None:
            return 0.0
        point = np.asarray(layer.world_to_data(self._viewer.dims.point))
        axes = list(frame.spatial_axes[:-2])
        return float(np.abs(point[axes] - self._indices[row][axes]).sum())


def _on_press(objects: weakref.ref[MeasuredObjects], viewer: Any, event: Any) -> Iterator[None]:
    """A click on the canvas, which is a press and a release without a movement between."""
    yield
    moved = False
    while event.type == "mouse_move":
        moved = True
        yield
    present = objects()
    if present is not None and not moved:
        present.pick(event)


def _measure(
    numbers: npt.NDArray[Any],
    image_name: str,
    frame: ImageFrame,
    labels: npt.NDArray[Any],
    volume: bool,
    names: Sequence[str],
    progress: Callable[[float], None],
    stop: Callable[[], bool],
) -> pd.DataFrame:
    from napari_dsparse.prediction.measurement_table import measurement_table

    axes = frame.spatial_axes[-3 if volume else -2 :]
    return measurement_table(
        np.array(numbers),
        frame.source.data,
        classes=labels,
        names=names,
        scale=[float(frame.placement["scale"][axis]) for axis in axes],
        units=[str(frame.placement["units"][axis]) for axis in axes],
        image_name=image_name,
        channel_axis=frame.source.channel_axis,
        volume=volume,
        stop=stop,
    )


def _indices(table: pd.DataFrame, frame: ImageFrame, volume: bool) -> npt.NDArray[np.float64]:
    """Indices into the layer of the objects' centres, shape (rows, axes of the layer)."""
    axes = frame.spatial_axes
    measured = axes[-3 if volume else -2 :]
    places = np.zeros((len(table), len(frame.layer_shape)))
    for number, axis in enumerate(axes[: -len(measured)]):
        places[:, axis] = table[f"plane-{number}"]
    for number, axis in enumerate(measured):
        places[:, axis] = table[f"centroid-{number}"] / abs(float(frame.placement["scale"][axis]))
    return places
