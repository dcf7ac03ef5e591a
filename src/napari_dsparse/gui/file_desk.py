"""The dock's files: the segmentation that is exported, and models that are saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.gui.layers.exporting import (
    DEFAULT_SUFFIX,
    MODEL_FILTER,
    MODEL_SUFFIX,
    export_filters,
)
from napari_dsparse.gui.widgets.dialogs import ask_open_path, ask_save_path
from napari_dsparse.live import events as ev

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock


class FileDesk(QObject):
    """Asks for the names of files, and passes them on to the live loop.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock, self._controller, self._panel = dock, dock.controller, dock.panel
        self._panel.export_button.clicked.connect(self._export)
        self._panel.save_model_button.clicked.connect(self._save_model)
        self._panel.load_model_button.clicked.connect(self._load_model)

    def _export(self) -> None:
        suggestion = f"{self._controller.state.image} segmentation{DEFAULT_SUFFIX}"
        answer = self._ask("Export segmentation", suggestion, export_filters())
        if answer is not None:
            self._controller.send(ev.ExportPressed(*answer))

    def _save_model(self) -> None:
        state = self._controller.state
        origin = state.image if state.model is None else state.model.origin.removesuffix(MODEL_SUFFIX)
        answer = self._ask("Save model", f"{origin}{MODEL_SUFFIX}", MODEL_FILTER)
        if answer is not None:
            self._controller.send(ev.SaveModelPressed(*answer))

    def _ask(self, title: str, suggestion: str, filters: str) -> tuple[Path, bool] | None:
        folder = self._dock.study.front_folder
        return ask_save_path(self._dock, title, suggestion, filters, folder)

    def _load_model(self) -> None:
        folder = self._dock.study.front_folder
        path = ask_open_path(self._dock, "Load model", MODEL_FILTER, folder)
        if path is not None:
            self._controller.load_model(path)
