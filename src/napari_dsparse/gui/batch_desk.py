"""The dock's batch: many images segmented into files while the window stays free."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.batch.inputs import WantedImage
from napari_dsparse.batch.outputs import Outputs, plan_outputs
from napari_dsparse.batch.pace import Pace, duration
from napari_dsparse.batch.segmenter import Choices
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.gui.batch_images import (
    BatchItem,
    item_of,
    items_of_files,
    items_of_list,
    mark_learned,
    wanted_images,
)
from napari_dsparse.gui.batch_run import BatchRun
from napari_dsparse.gui.batch_saving import BatchSaving
from napari_dsparse.gui.batch_summary import row_of, told
from napari_dsparse.gui.layers.exporting import MODEL_FILTER
from napari_dsparse.gui.study import Study
from napari_dsparse.gui.widgets.batch_dialog import BatchDialog, Existing, ask_existing
from napari_dsparse.gui.widgets.batch_table import BatchRow, Stage
from napari_dsparse.gui.widgets.dialogs import IMAGE_FILTER, ask_folder, ask_open_path, ask_open_paths
from napari_dsparse.gui.widgets.distinct_names import distinct_names
from napari_dsparse.gui.widgets.plate_dialog import ask_fields
from napari_dsparse.images.plates import Plate
from napari_dsparse.live.batch_thread import BatchEnded, BatchImage, BatchJob, ImageEnded, ImageProgress
from napari_dsparse.live.sentences import describe_model
from napari_dsparse.live.state import LiveState, newest_classifier

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock

#: Folder for results that is suggested, in that of the first image.
RESULTS_FOLDER = "segmentations"
_BUTTON = "Segment many…"


class BatchDesk(QObject):
    """Connects the batch dialog with the dock, the list of images, and the thread that does the work.

    Parameters
    ----------
    dock : SegmentationDock
    study : Study
    """

    def __init__(self, dock: SegmentationDock, study: Study) -> None:
        super().__init__(dock)
        self._dock, self._study = dock, study
        self._controller, self._button = dock.controller, dock.panel.batch_button
        self._dialog: BatchDialog | None = None
        self._items: list[BatchItem] = []
        self._running: list[int] = []  # rows of the images of the job
        self._ended: dict[int, ImageEnded] = {}  # by row
        self._ran = False
        self._outcome, self._failed = "", False  # of the last run, in a sentence
        self._missed = False  # something was still to be chosen
        self._saving: BatchSaving  # made with the dialog
        self._model_file: Path | None = None
        self._suggested = ""
        self._foreground = "#ffffff"
        self._run = BatchRun(self._controller, "Segmenting images", self)
        self._run.progressed.connect(self._on_progress)
        self._run.image_ended.connect(self._on_image_ended)
        self._run.finished.connect(self._finish)
        self._run.cancelling.connect(self._on_cancelling)
        self._button.clicked.connect(self.open)
        self._controller.changed.connect(self._on_state)

    @property
    def dialog(self) -> BatchDialog:
        """The dialog, made when it is opened first."""
        if self._dialog is None:
            self._dialog = dialog = BatchDialog(self._dock)
            dialog.batch_files_button.clicked.connect(self._add_files)
            dialog.batch_folder_button.clicked.connect(self._add_folder)
            dialog.batch_list_button.clicked.connect(self._add_list)
            dialog.batch_table.dropped.connect(self.add_files)
            dialog.batch_remove_button.clicked.connect(self._remove)
            dialog.batch_model_combo.addItems(["", ""])
            dialog.batch_model_combo.activated.connect(self._on_model_picked)
            for check in dialog.checks:
                check.toggled.connect(self._draw)
            dialog.batch_output_edit.textChanged.connect(self._draw)
            dialog.batch_output_button.clicked.connect(self._choose_output)
            dialog.batch_start_button.clicked.connect(self.start)
            dialog.batch_cancel_button.clicked.connect(self._run.cancel)
            self._saving = BatchSaving(dialog, self._ended, self._say, self)
            self.set_foreground(self._foreground)
        return self._dialog

    def open(self) -> None:
        """Show the dialog, with the images of the list if it is empty."""
        new, dialog = self._dialog is None, self.dialog
        if new:
            dialog.batch_exposure_check.setChecked(self._controller.state.matches_exposure)
        if not self._items and self._study.images:
            self._add_list()
        self._draw()
        dialog.show()
        dialog.raise_()
        dialog.activateWindow()

    def set_foreground(self, color: str) -> None:
        """Choose the red of failures that can be read where text has this colour."""
        self._foreground = color
        if self._dialog is not None:
            self._dialog.batch_table.set_foreground(color)
            self._dialog.batch_status_label.set_foreground(color)

    def shutdown(self) -> None:
        """Stop; nothing is left half written. The thread is waited for where all threads are."""
        self._controller.changed.disconnect(self._on_state)
        self._run.shutdown()
        if self._dialog is not None:
            self._saving.shutdown()
            self._dialog.hide()

    # -- choosing -------------------------------------------------------------------------------------------

    def add_files(self, paths: list[Path]) -> None:
        """Add files, and the images in folders, once these have been listed beside the window."""
        if paths and not self._run.running:
            find = partial(items_of_files, tuple(paths))
            self._dock.projects.worker.run(find, self._on_files, partial(self._say, failed=True))

    def _on_files(self, found: tuple[list[BatchItem], int, list[Plate]]) -> None:
        items, results, plates = found
        for plate in plates:
            items += [item_of(path.absolute()) for path in ask_fields(plate, self.dialog)]
        if self._run.running:
            return
        known = {item.path for item in self._items}
        items = [item for item in items if item.path not in known]
        self._add(items)
        if results:
            self._say(f"{_images(len(items))} added; {results} results of former runs left out.")
        elif not items and not plates:
            self._say("There are no images that are not in the table already.")

    def _add_files(self) -> None:
        self.add_files(ask_open_paths(self.dialog, "Segment images", IMAGE_FILTER))

    def _add_folder(self) -> None:
        self.add_files(ask_folder(self.dialog, "Segment the images of a folder"))

    def _add_list(self) -> None:
        self._add(items_of_list(self._study.images, self._items))

    def _add(self, items: list[BatchItem]) -> None:
        self._items += items
        edit = self.dialog.batch_output_edit
        first = next((item.file for item in self._items if item.file is not None), None)
        folder = self._dock.study.front_folder if first is None else first.parent
        if folder is not None and edit.text() in ("", self._suggested):
            self._suggested = str(folder / RESULTS_FOLDER)
            edit.setText(self._suggested)
        self._begin_anew()

    def _remove(self) -> None:
        gone = set(self.dialog.batch_table.selected) or set(range(len(self._items)))
        self._items = [item for number, item in enumerate(self._items) if number not in gone]
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Show the images as not begun: another table has another summary."""
        self._forget(ran=False)
        self.dialog.batch_table.show_rows(self._rows())
        self._draw()

    def _rows(self) -> list[BatchRow]:
        """The images as not begun, those of one name with the folders that tell them apart."""
        names = distinct_names([(item.name, item.path) for item in self._items])
        return [BatchRow(name, item.place) for name, item in zip(names, self._items, strict=True)]

    def _forget(self, *, ran: bool) -> None:
        self._ran = ran
        self._ended.clear()
        self._saving.former.clear()

    def _on_model_picked(self, index: int) -> None:
        if index == 1:
            folder = self._dock.study.front_folder
            path = ask_open_path(self.dialog, "Model to segment by", MODEL_FILTER, folder)
            self._model_file = path or self._model_file
            if self._model_file is None:
                self.dialog.batch_model_combo.setCurrentIndex(0)
        self._draw()

    def _choose_output(self) -> None:
        for folder in ask_folder(self.dialog, "Folder for the results"):
            self.dialog.batch_output_edit.setText(str(folder))

    @property
    def _model(self) -> TrainedClassifier | Path | None:
        """The model that is chosen, as it is now."""
        chosen = self.dialog.batch_model_combo.currentIndex()
        return newest_classifier(self._controller.state) if chosen == 0 else self._model_file

    def _missing(self) -> str | None:
        """The next thing that is still to be chosen, as a sentence."""
        dialog = self.dialog
        if not self._items:
            return "Add the images to segment: files, a folder, or those of the list in the dock."
        model_from_file = dialog.batch_model_combo.currentIndex() == 1
        if model_from_file and self._model_file is None:
            return "Choose a saved model."
        if not model_from_file and self._controller.state.model is None:
            return "There is no model in this window yet: paint and train, or choose a saved model."
        if not any(check.isChecked() for check in dialog.checks):
            return "Choose what to write."
        if not dialog.batch_output_edit.text().strip():
            return "Choose a folder for the results."
        return None

    # -- drawing --------------------------------------------------------------------------------------------

    def _on_state(self, state: LiveState) -> None:
        if self._dialog is not None and self._dialog.isVisible():
            self._draw()

    def _draw(self) -> None:
        dialog, state = self.dialog, self._controller.state
        known = describe_model(state).partition(": ")[2]
        own = known if state.model is not None else "none in this window yet"
        saved = "a saved model…" if self._model_file is None else f"{self._model_file.name}…"
        for index, text in enumerate((own, saved)):
            if dialog.batch_model_combo.itemText(index) != text:
                dialog.batch_model_combo.setItemText(index, text)
        if self._run.running:
            return
        missing = self._missing()
        dialog.batch_start_button.setEnabled(missing is None)
        dialog.batch_list_button.setEnabled(bool(self._study.images))
        dialog.batch_remove_button.setEnabled(bool(self._items))
        if missing is not None or not self._ran:
            self._say(missing or f"{_images(len(self._items))} to segment.")
        elif self._missed:
            self._say(self._outcome, failed=self._failed)
        self._missed = missing is not None
        self._saving.enable(self._ran)

    def _say(self, sentence: str, *, failed: bool = False) -> None:
        self.dialog.batch_status_label.say(sentence, failed=failed)

    # -- working --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Segment the images of the table; asks once if results of some exist."""
        if self._run.running or self._missing() is not None:
            return
        dialog = self.dialog
        labels, probabilities, uncertainty, objects, measurements = (
            check.isChecked() for check in dialog.checks
        )
        try:
            folder = Path(dialog.batch_output_edit.text().strip()).expanduser().absolute()
            wanted = wanted_images(self._items)
            planned = plan_outputs(
                [each.name for each in wanted],
                f"{folder}{os.sep}",
                str(dialog.batch_format_combo.currentData()),
                labels=labels,
                probabilities=probabilities,
                uncertainty=uncertainty,
                objects=objects,
                measurements=measurements,
            )
            present = set(os.listdir(folder)) if folder.is_dir() else set()
        except DsparseError as error:
            self._say(str(error), failed=True)
            return
        except OSError as error:
            self._say(f"{error.filename}: {error.strerror}.", failed=True)
            return
        existing = {n: [p.name for p in out.paths if p.name in present] for n, out in enumerate(planned)}
        existing = {n: names for n, names in existing.items() if names}
        answer = ask_existing(dialog, len(existing), len(wanted)) if existing else Existing.SKIP
        if answer is None:
            return
        rows = self._rows()
        if answer is Existing.SKIP:
            for number, names in existing.items():
                rows[number] = replace(
                    rows[number], stage=Stage.SKIPPED, text=f"{', '.join(names)} existed already"
                )
        dialog.batch_table.show_rows(rows)
        self._forget(ran=True)
        skipped = existing if answer is Existing.SKIP else {}
        tables = {number: planned[number].measurements for number in skipped}
        self._saving.former |= {n: path for n, path in tables.items() if path and path.name in existing[n]}
        self._running = [n for n, each in enumerate(rows) if each.stage is Stage.WAITING]
        self._begin(wanted, planned, overwrite=answer is Existing.OVERWRITE)

    def _begin(self, wanted: list[WantedImage], planned: tuple[Outputs, ...], *, overwrite: bool) -> None:
        if not self._running:
            self._finish(BatchEnded())
            return
        dialog, state, model = self.dialog, self._controller.state, self._model
        named = str(model) if isinstance(model, Path) else dialog.batch_model_combo.itemText(0)
        self._saving.model = named
        finding = self._dock.panel.objects_panel.options
        if isinstance(model, Path):
            finding = replace(finding, classes=None)  # its classes may be others than those of the window
        choices = Choices(
            device=state.device,
            finding=finding,
            planes_apart=True,
            normalise="image" if dialog.batch_exposure_check.isChecked() else "model",
            exposure_remedy="match exposure",
            resume=True,
            overwrite=overwrite,
        )
        if state.model is not None and not isinstance(model, Path):
            wanted = mark_learned(wanted, self._items, self._study.images, state.model.keys)
        images = tuple(BatchImage(wanted[number], planned[number]) for number in self._running)
        self._run.start(BatchJob(images, model, choices))
        dialog.batch_progress_bar.setValue(0)
        dialog.show_running(True)
        self._saving.enable(False)
        self._tell(None)

    def _on_cancelling(self) -> None:
        self.dialog.batch_cancel_button.setEnabled(False)
        self._say("Cancelling …")

    def _on_progress(self, event: ImageProgress) -> None:
        number, pace = self._running[event.number], event.pace
        row = self.dialog.batch_table.rows[number]
        text = "opening …" if pace is None else _progress(pace)
        self.dialog.batch_table.show_row(number, BatchRow(row.name, row.place, Stage.RUNNING, text))
        self._tell(pace)

    def _on_image_ended(self, event: ImageEnded) -> None:
        number = self._running[event.number]
        row = self.dialog.batch_table.rows[number]
        self._ended[number] = event
        self.dialog.batch_table.show_row(number, row_of(row.name, row.place, event))
        self._tell(None)

    def _tell(self, pace: Pace | None) -> None:
        place = f"{min(len(self._ended) + 1, len(self._running))} of {len(self._running)}"
        self._button.setText(f"Segmenting {place}…")
        bar = self.dialog.batch_progress_bar
        bar.setValue(round(self._run.share * bar.maximum()))
        if not self._run.cancelled:
            failed = sum(1 for each in self._ended.values() if each.problem is not None)
            parts = [f"Segmenting {place}"]
            if pace is not None and pace.seconds_left_of_all is not None:
                parts.append(f"{duration(pace.seconds_left_of_all)} left for all")
            parts += [f"{failed} failed so far"] if failed else []
            self._say("; ".join(parts) + ".")

    def _finish(self, event: BatchEnded) -> None:
        dialog = self.dialog
        dialog.show_running(False)
        self._button.setText(_BUTTON)
        summary = told(dialog.batch_table.rows)
        seconds = sum(each.seconds for each in self._ended.values())
        took = f" in {duration(seconds)}" if self._ended else ""
        self._outcome = f"{'Cancelled' if event.stopped else 'Done'}: {summary}{took}."
        self._failed = any(each.stage is Stage.FAILED for each in dialog.batch_table.rows)
        if event.problem is not None:
            self._outcome, self._failed = f"{event.problem} ({summary})", True
        self._draw()
        self._say(self._outcome, failed=self._failed)


def _progress(pace: Pace) -> str:
    if pace.share >= 1:
        return "writing …"
    text = f"{int(100 * pace.share)} %"
    if pace.megapixels_per_second is not None and pace.seconds_left is not None:
        text += f", {pace.megapixels_per_second:.2f} MP/s, {duration(pace.seconds_left)} left"
    return text


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
