"""The dock's objects: found in the segmentation, looked at while the options change, measured in a table."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.gui.kept_objects import KeptObjects, ObjectsByLayer
from napari_dsparse.gui.layers.objects_layer import ObjectsLayers
from napari_dsparse.gui.measured_objects import MeasuredObjects
from napari_dsparse.gui.objects_work import FoundObjects, ObjectsWork, counted, differ, find
from napari_dsparse.gui.widgets.dialogs import ask_save_path
from napari_dsparse.live import events as ev
from napari_dsparse.live.state import LiveState
from napari_dsparse.prediction.object_options import ObjectOptions

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

    from napari_dsparse.gui.dock import SegmentationDock
    from napari_dsparse.prediction.objects_in_view import ObjectsInView

#: Kinds of looks.
PREVIEW, COMPARE, COMPARE_TABLE = "preview", "compare", "compare the table"

#: A preview, and what is said of objects, follows so many milliseconds after a change.
FOLLOW_MILLISECONDS = 250

CHANGED = "The segmentation has changed since."
OTHER_OPTIONS = "The options have changed since."
#: The same of a table: of segmentations that have changed, and of those being looked at.
TABLE_CHANGED = f"{CHANGED} Find and measure them again."
UNCERTAIN = "They may have changed since."


class ObjectsDesk(QObject):
    """Connects the controls for objects with the segmentation and the layers.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock = dock
        self._viewer, self._controller = dock.viewer, dock.controller
        self._panel = dock.panel.objects_panel
        self._layers: ObjectsLayers | None = None
        self._kept = ObjectsByLayer()
        self._shown: KeptObjects | None = None
        self._brought_back = False  # they were found when the image was in front before
        self._in_table: KeptObjects | None = None
        self._classes: tuple[ClassInfo, ...] = ()
        self._seen: ObjectsInView | None = None
        self._waiting = self._measure_next = False
        self._said = ""
        self._measured = MeasuredObjects(self._viewer, self)
        self._measured.save_wanted.connect(self._ask_to_save)
        self._measured.front_wanted.connect(dock.study.bring_to_front)
        self._measured.outdated.connect(self._draw)
        self.work = ObjectsWork(self)
        self.work.changed.connect(self._draw)
        self.work.progressed.connect(self._panel.show_progress)
        self.work.failed.connect(self._complain)
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(FOLLOW_MILLISECONDS)
        self._follow.timeout.connect(self._look)
        self._compare = QTimer(self)
        self._compare.setSingleShot(True)
        self._compare.setInterval(FOLLOW_MILLISECONDS)
        self._compare.timeout.connect(self._on_compare)
        panel, controller = self._panel, self._controller
        panel.changed.connect(self._on_options)
        panel.preview_check.toggled.connect(self._on_preview)
        panel.objects_button.clicked.connect(self._on_find_pressed)
        panel.measure_button.clicked.connect(self._on_measure_pressed)
        panel.objects_cancel_button.clicked.connect(self._cancel)
        controller.changed.connect(self._on_state)
        controller.image_changed.connect(self._on_image)
        controller.places.moved.connect(self._on_moved)
        controller.segmentation_changed.connect(self._on_segmentation)
        controller.view_changed.connect(self._on_view)
        self._draw()

    # -- finding --------------------------------------------------------------------------------------------

    def _on_find_pressed(self) -> None:
        self._measure_next = False
        self._begin()

    def _on_measure_pressed(self) -> None:
        edited = self._layers is not None and self._layers.edited
        if self._objects_there() and (edited or not (self._stale() or self._brought_back)):
            self._measure()
        else:
            self._measure_next = True
            self._begin()

    def _begin(self) -> None:
        """Find objects, once the whole image is segmented by the newest model."""
        state = self._controller.state
        self._said = ""
        if state.has_model and not state.complete:
            self._waiting = True
            if state.whole is None and not state.whole_due:
                self._controller.send(ev.WholePressed())
            self._draw()
        else:
            self._find()

    def _find(self) -> None:
        results, frame = self._controller.results, self._controller.frame
        labels = None if results is None else results.labels
        if results is None or frame is None or labels is None:
            return
        then = partial(self._on_found, results.revision)
        self.work.begin("Finding objects", partial(find, labels, self._options()), then)

    def _options(self) -> ObjectOptions:
        frame, options = self._controller.frame, self._panel.options
        if frame is None:
            return options
        scale, units = (frame.placement[name] for name in ("scale", "units"))
        axes = frame.spatial_axes
        return options.at_scale([scale[axis] for axis in axes], [str(units[axis]) for axis in axes])

    def _on_found(self, revision: int, found: FoundObjects) -> None:
        if self._layers is None:
            return
        results = self._controller.results
        frame, chosen = self._controller.frame, self._controller.state.chosen
        segmentation = None if results is None else results.segmentation
        if results is None or frame is None or chosen is None or segmentation is None:
            return
        classes = self._controller.state.classes
        self._shown = KeptObjects(found, chosen.key, frame, weakref.ref(segmentation), classes)
        self._brought_back = False
        if results.revision != revision:
            self._compare.start()  # it has changed meanwhile
        self._panel.preview_check.setChecked(False)
        self._kept.keep(self._layers.show(found.numbers), self._shown)
        if self._measure_next:
            self._measure_next = False
            self._measure()

    def _objects_there(self) -> bool:
        return self._shown is not None and self._layers is not None and self._layers.objects is not None

    def _cancel(self) -> None:
        if self._waiting:
            self._waiting = False
            self._controller.send(ev.CancelPressed())
        self._measure_next = False
        self._said = "Stopped; nothing was changed."
        self.work.stop()
        self._draw()

    # -- measuring ------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        frame, shown = self._controller.frame, self._shown
        layer = None if self._layers is None else self._layers.objects
        results = self._controller.results
        if frame is None or shown is None or layer is None or results is None:
            return
        names = [info.name for info in self._controller.state.classes]
        work = self._measured.work(layer, results.image.name, frame, shown.found, names)
        self._said = ""
        self.work.begin("Measuring", work, partial(self._on_measured, layer))

    def _on_measured(self, layer: Any, table: pd.DataFrame) -> None:
        frame, results = self._controller.frame, self._controller.results
        shown = self._in_table = self._shown
        if frame is not None and results is not None and shown is not None:
            volume = shown.found.options.volume
            self._measured.show(layer, results.image.name, frame, volume, table, shown.key)

    def _ask_to_save(self) -> None:
        table, name = self._measured.table, self._measured.image
        if table is None:
            return
        folder = self._dock.study.front_folder
        answer = ask_save_path(self._dock, "Save table", f"{name} objects.csv", "Table (*.csv)", folder)
        if answer is not None:
            path, overwrite = answer
            write = partial(_write, table, path, overwrite)
            self._dock.projects.worker.run(write, partial(self._on_saved, table, path), self._complain)

    def _on_saved(self, table: pd.DataFrame, path: Path, done: None) -> None:
        if table is self._measured.table:  # no other was measured meanwhile
            self._measured.saved_as = path.name
            self._draw()

    # -- preview --------------------------------------------------------------------------------------------

    def _on_options(self) -> None:
        self._said = ""
        check = self._panel.preview_check
        if check.isEnabled() and not check.isChecked():
            check.setChecked(True)  # looks, too
        else:
            self._look()
        self._draw()

    def _on_preview(self, wanted: bool) -> None:
        if wanted:
            self._look()
            return
        self.work.forget_looks(PREVIEW)
        self._follow.stop()
        self._seen = None
        if self._layers is not None:
            self._layers.end_preview()
        self._draw()

    def _look(self) -> None:
        results, view = self._controller.results, self._controller.view()
        labels = None if results is None else results.labels
        if self._panel.preview_check.isChecked() and labels is not None and view is not None:
            from napari_dsparse.prediction.objects_in_view import objects_in_view

            self.work.look(PREVIEW, partial(objects_in_view, labels, self._options(), view), self._on_seen)

    def _on_seen(self, seen: ObjectsInView) -> None:
        if self._layers is not None and self._panel.preview_check.isChecked():
            self._seen = seen
            self._layers.show_preview(seen)

    # -- following ------------------------------------------------------------------------------------------

    def _on_image(self) -> None:
        """Another image is in front: what is under way is of the one before."""
        self._waiting = self._measure_next = False
        self.work.stop()
        self._panel.preview_check.setChecked(False)
        self.work.forget_looks(PREVIEW, COMPARE, COMPARE_TABLE)
        self._compare.stop()
        if self._layers is not None:
            self._layers.close()
            self._layers.deleteLater()
            self._layers = None
        self._shown, self._said = None, ""
        controller = self._controller
        if controller.results is not None and controller.frame is not None:
            self._layers = ObjectsLayers(self._viewer, controller.results.image, controller.frame, self)
            self._panel.show_planes(controller.frame.source.depth_problem is None)
            self._bring_back()
        self._compare_anew()

    def _on_moved(self, *moved: Any) -> None:
        if self._layers is not None and self._layers.place(*moved):
            self._look()

    def of_front(self) -> tuple[Labels, KeptObjects] | None:
        """The layer of the objects found in the image in front, and these; None if there are none."""
        chosen, frame = self._controller.state.chosen, self._controller.frame
        return (
            None if chosen is None or frame is None else self._kept.of_image(chosen.key, frame, self._viewer)
        )

    def _bring_back(self) -> None:
        """Go on with objects that were found in the image when it was in front before."""
        found = self.of_front()
        if found is not None and self._layers is not None:
            layer, self._shown = found
            self._brought_back = True
            self._layers.take(layer)

    def _compare_anew(self) -> None:
        """Look whether objects are still those of their segmentations."""
        if self._measured.table is None:
            self._in_table = None
        for kept in (self._shown, self._in_table):
            if kept is not None:
                kept.outdated = None
        self._on_compare()
        self._draw()

    def _on_segmentation(self) -> None:
        if self._panel.preview_check.isChecked() and not self._follow.isActive():
            self._follow.start()
        if self._shown is not None and not self._compare.isActive():
            self._compare.start()

    def _on_compare(self) -> None:
        """Compare segmentations with those that objects were found in, once there is no sketch."""
        if self._controller.state.sketched:
            self._compare.start()
            return
        results, shown = self._controller.results, self._shown
        segmentation = None if results is None else results.segmentation
        if shown is not None and segmentation is not None:
            shown.segmentation = weakref.ref(segmentation)
        for kind, kept in ((COMPARE, shown), (COMPARE_TABLE, self._in_table)):
            labels = None if kept is None else kept.labels(self._viewer)
            if kept is None or (kind == COMPARE_TABLE and kept is shown):
                continue
            if labels is None:
                self._on_compared(kept, True)
            else:
                self.work.look(kind, partial(differ, labels, kept.found), partial(self._on_compared, kept))

    def _on_compared(self, kept: KeptObjects, outdated: bool) -> None:
        kept.outdated = outdated
        self._draw()

    def _on_view(self) -> None:
        if self._panel.preview_check.isChecked():
            self._follow.start()

    def _on_state(self, state: LiveState) -> None:
        self._panel.show_classes(state.classes)
        if state.classes is not self._classes:  # segmentations behind follow them, too
            self._classes = state.classes
            if self._in_table is not None:
                self._compare.start()
        if self._waiting:
            if state.complete:
                self._waiting = False
                self._find()
            elif state.whole is None and not state.whole_due:
                self._waiting = self._measure_next = False
                self._said = "No objects: the whole image was not segmented."
        self._draw()

    def shutdown(self) -> None:
        """End the threads and disconnect from the viewer; the layer of objects stays."""
        self._controller.changed.disconnect(self._on_state)
        self._controller.image_changed.disconnect(self._on_image)
        self._controller.segmentation_changed.disconnect(self._on_segmentation)
        self._follow.stop()
        self._compare.stop()
        self.work.shutdown()
        self._measured.shutdown()
        if self._layers is not None:
            self._layers.close()
            self._layers = None

    # -- words ----------------------------------------------------------------------------------------------

    def _complain(self, sentence: str) -> None:
        self._said = sentence
        self._draw()

    def _draw(self) -> None:
        panel, state, doing = self._panel, self._controller.state, self.work.doing
        results = self._controller.results
        there = results is not None and results.labels is not None
        free = doing is None and not self._waiting
        ready = free and not state.writing and results is not None and (there or state.has_model)
        panel.objects_button.setEnabled(ready)
        panel.measure_button.setEnabled(ready)
        panel.preview_check.setEnabled(there)
        whole = state.whole.fraction if self._waiting and state.whole is not None else 0.0
        if free:
            panel.show_progress(None)
        elif not panel.objects_progress.isVisibleTo(panel) or self._waiting:
            panel.show_progress(whole)
        stale = self._stale()
        panel.say(" ".join(filter(None, self._sentences(doing, stale))))
        outdated = False if self._in_table is None else self._in_table.outdated
        self._measured.note({None: UNCERTAIN, True: TABLE_CHANGED, False: ""}[outdated])

    def _sentences(self, doing: str | None, stale: str) -> list[str]:
        if self._waiting:
            return ["Segmenting the whole image first ..."]
        if doing is not None:
            return [f"{doing} ..."]
        if self._seen is not None:
            place = "in view" if self._seen.whole_view else "in the middle of the view"
            return [f"Preview: {counted(self._seen.count)} {place}.", self._said]
        if self._objects_there() and self._shown is not None and self._layers is not None:
            layer = self._layers.objects
            name = "" if layer is None else layer.name
            return [self._said or f"{counted(self._shown.found.count)} in {name}.", stale]
        return [self._said]

    def _stale(self) -> str:
        if self._shown is None:
            return ""
        if self._shown.outdated:
            return CHANGED
        return "" if self._shown.found.options == self._options() else OTHER_OPTIONS


def _write(table: pd.DataFrame, path: Path, overwrite: bool) -> None:
    with complete_or_absent(path, overwrite=overwrite) as partial_file:
        table.to_csv(partial_file, index=False)
