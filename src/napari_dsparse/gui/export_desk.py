"""Exports beside that of the segmentation: probabilities, uncertainty, and objects of the image in front."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu

from napari_dsparse.batch.inputs import InputImage
from napari_dsparse.batch.outputs import Outputs
from napari_dsparse.batch.segmenter import Choices
from napari_dsparse.errors import DsparseError
from napari_dsparse.files.export import check_export
from napari_dsparse.gui.batch_images import wanted_open_image
from napari_dsparse.gui.batch_run import BatchRun
from napari_dsparse.gui.layers.exporting import (
    DEFAULT_SUFFIX,
    export_filters,
    file_name,
    image_of,
    map_filters,
)
from napari_dsparse.gui.layers.viewer import layers_of
from napari_dsparse.gui.widgets.dialogs import ask_save_path
from napari_dsparse.live import events as ev
from napari_dsparse.live.batch_thread import BatchEnded, BatchImage, BatchJob, ImageEnded
from napari_dsparse.live.state import LiveState, newest_classifier

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_dsparse.gui.dock import SegmentationDock


@dataclass(frozen=True, slots=True)
class _Kind:
    """A result that can be exported.

    Parameters
    ----------
    name : str
        As `Outputs` calls it.
    text, tip : str
        Of its entry in the menu.
    """

    name: str
    text: str
    tip: str


KINDS = (
    _Kind("probabilities", "Probabilities…", "The probability of every class, a channel each."),
    _Kind("uncertainty", "Uncertainty…", "How unsure the model is of every pixel, 0 to 1."),
    _Kind("objects", "Objects…", "The objects of the layer '<image> objects', with their classes."),
)


class ExportDesk(QObject):
    """The menu Export more, and the job that writes what was chosen in the background.

    Maps are computed by the newest model, tile by tile into a file, so that they need no memory and no layer.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock, self._controller = dock, dock.controller
        self._button = dock.panel.export_menu_button
        self._run = BatchRun(self._controller, "Exporting", self)
        self._run.image_ended.connect(self._on_ended)
        self._run.finished.connect(self._on_finished)
        self._run.cancelling.connect(self._draw)
        menu = QMenu(self._button)
        menu.setObjectName("export_menu")
        menu.setToolTipsVisible(True)
        self._actions: dict[str, QAction] = {}
        for kind in KINDS:
            action = QAction(kind.text, menu)
            menu.addAction(action)
            action.setObjectName(f"export_{kind.name}")
            action.setToolTip(kind.tip)
            self._actions[kind.name] = action
        # Bound methods, which Qt's signals hold weakly: a function that closes over `self` would keep the
        # dock alive after its window.
        self._actions["probabilities"].triggered.connect(self._export_probabilities)
        self._actions["uncertainty"].triggered.connect(self._export_uncertainty)
        self._actions["objects"].triggered.connect(self._export_objects)
        self._cancel = QAction("Cancel this export", menu)
        menu.addAction(self._cancel)
        self._cancel.setObjectName("export_cancel")
        self._cancel.triggered.connect(self._run.cancel)
        menu.aboutToShow.connect(self._draw)
        self._button.setMenu(menu)
        self._controller.changed.connect(self._on_state)
        self._draw()

    @property
    def running(self) -> bool:
        """True while something is being exported."""
        return self._run.running

    def shutdown(self) -> None:
        """Stop; nothing is left half written."""
        self._controller.changed.disconnect(self._on_state)
        self._run.shutdown()

    # -- choosing -------------------------------------------------------------------------------------------

    def _on_state(self, state: LiveState) -> None:
        self._draw()

    def _draw(self) -> None:
        free = self._controller.frame is not None and not self._run.running
        by_model = free and self._controller.state.has_model
        self._button.setEnabled(self._controller.frame is not None)
        self._actions["probabilities"].setEnabled(by_model)
        self._actions["uncertainty"].setEnabled(by_model)
        self._actions["objects"].setEnabled(free and self._objects_layer() is not None)
        self._cancel.setVisible(self._run.running)
        self._cancel.setEnabled(not self._run.cancelled)

    def _objects_layer(self) -> Labels | None:
        """The layer of the image's objects, on its pixels: those found in it, whatever it is called."""
        from napari.layers import Labels

        known = self._dock.objects.of_front()
        if known is not None:
            return known[0]
        frame, image = self._controller.frame, self._dock.panel.image_combo.layer
        if frame is None or image is None:
            return None
        wanted = f"{image.name} objects"
        found = (
            layer
            for layer in reversed(list(layers_of(self._dock.viewer, Labels)))
            if layer.name == wanted and tuple(layer.data.shape) == frame.layer_shape
        )
        return next(found, None)

    def _export_probabilities(self) -> None:
        self._export("probabilities", map_filters())

    def _export_uncertainty(self) -> None:
        self._export("uncertainty", map_filters())

    def _export_objects(self) -> None:
        self._export("objects", export_filters())

    def _export(self, kind: str, filters: str) -> None:
        """Ask for the file, and begin."""
        frame = self._controller.frame
        if frame is None or self._run.running:
            return
        image = image_of(frame)
        suggestion = f"{file_name(frame.source.name)} {kind}{DEFAULT_SUFFIX}"
        answer = ask_save_path(
            self._dock, f"Export {kind}", suggestion, filters, self._dock.study.front_folder
        )
        if answer is None:
            return
        path, overwrite = answer
        try:
            place: dict[str, Any] = {"scale": image.scale, "units": image.units, "axes": image.axes}
            channels = 0 if kind == "objects" else 1
            check_export(path, image.source.shape, channels=channels, **place)
        except DsparseError as error:
            self._controller.send(ev.Refused(str(error)))
            return
        self._begin(kind, image, path, overwrite)

    # -- working --------------------------------------------------------------------------------------------

    def _begin(self, kind: str, image: InputImage, path: Path, overwrite: bool) -> None:
        state, frame = self._controller.state, self._controller.frame
        given: dict[str, Any] = {}
        classes = state.classes
        if kind == "objects":
            layer, found = self._objects_layer(), self._dock.objects.of_front()
            if layer is None or frame is None:
                return
            given["objects"] = frame.engine_view(layer.data).copy()
            results = self._controller.results
            if found is not None:  # with the classes that they were found with
                given["labels"], classes = found[1].found.labels, found[1].classes
            elif results is not None and state.complete:
                given["labels"] = results.labels.copy()
        outputs = Outputs(path, with_labels=False, **{kind: path})
        choices = Choices(
            device=state.device,
            normalise="image" if state.matches_exposure else "model",
            exposure_remedy="match exposure",
            resume=True,
            overwrite=overwrite,
        )
        one = BatchImage(wanted_open_image(image, image.source.name), outputs, given)
        model = None if kind == "objects" else newest_classifier(state)
        self._run.start(BatchJob((one,), model, choices, classes))
        self._controller.send(ev.Noted(f"Exporting {kind} as {path.name} in the background."))
        self._draw()

    def _on_ended(self, event: ImageEnded) -> None:
        if event.problem is not None:
            self._controller.send(ev.Refused(event.problem))
        elif event.written:
            self._controller.send(ev.Noted(f"Saved as {event.written[0].name}."))

    def _on_finished(self, event: BatchEnded) -> None:
        if event.problem is not None:
            self._controller.send(ev.Refused(event.problem))
        elif event.stopped:
            self._controller.send(ev.Noted("The export was cancelled; nothing was written."))
        self._draw()
