"""Classes taken over from another project, or from a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.classifier import class_edits
from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.errors import DsparseError
from napari_dsparse.files.model import read_classifier
from napari_dsparse.files.project_folder import SUFFIX, read_project
from napari_dsparse.gui.layers.exporting import MODEL_FILTER
from napari_dsparse.gui.widgets.dialogs import ask_folder, ask_open_path
from napari_dsparse.live import events as ev

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock


class ClassCopying(QObject):
    """Gives the table the names, colours and order of another one; paint follows its class by name.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._dock, self._controller = dock, dock.controller
        dock.panel.class_table.copy_wanted.connect(self._ask)

    def _ask(self, from_model: bool) -> None:
        read: Callable[[Path], tuple[ClassInfo, ...]]
        if from_model:
            start = self._dock.study.front_folder
            path = ask_open_path(self._dock, "Copy classes from a model", MODEL_FILTER, start)
            paths, read = [] if path is None else [path], _classes_of_model
        else:
            paths = ask_folder(self._dock, f"Copy classes from a project (NAME{SUFFIX})")
            read = _classes_of_project
        for each in paths:
            self._dock.projects.worker.run(partial(read, each), partial(self._copy, each), self._refuse)

    def _copy(self, path: Path, given: tuple[ClassInfo, ...]) -> None:
        state, editor = self._controller.state, self._controller.editor
        if not given:
            self._refuse(f"{path.name} names no classes; choose another one.")
            return
        numbers = range(1, len(state.classes) + 1)
        counted = {n for n, (_, pixels) in enumerate(state.counts, start=1) if pixels}
        painted = {number for number in numbers if number in counted or editor.painted_pixels(number)}
        table, edit = class_edits.take_over(state.classes, given, painted, path.name)
        try:
            if table != state.classes:
                self._controller.set_classes(table)
            editor.make(edit)
        except DsparseError as error:
            self._refuse(str(error))

    def _refuse(self, sentence: str) -> None:
        self._controller.send(ev.Refused(sentence))


def _classes_of_project(folder: Path) -> tuple[ClassInfo, ...]:
    return read_project(folder).classes


def _classes_of_model(path: Path) -> tuple[ClassInfo, ...]:
    return read_classifier(path).classes
