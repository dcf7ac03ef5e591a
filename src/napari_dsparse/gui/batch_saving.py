"""The outcome of a batch, saved and copied: its summary, and the objects of all images as one table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject
from qtpy.QtGui import QGuiApplication

from napari_dsparse.batch.joined_table import join_tables
from napari_dsparse.errors import DsparseError
from napari_dsparse.gui.batch_summary import save_table, table_of
from napari_dsparse.gui.file_worker import FileWorker
from napari_dsparse.gui.widgets.batch_dialog import BatchDialog
from napari_dsparse.gui.widgets.dialogs import ask_save_path
from napari_dsparse.live.batch_thread import ImageEnded

_CSV = "Table (*.csv)"


class BatchSaving(QObject):
    """Connects the three buttons below the table of images.

    Parameters
    ----------
    dialog : BatchDialog
    ended : dict of int to ImageEnded
        By row, the images that came to their end; the batch fills it.
    say : callable
        Takes a sentence, and ``failed=True`` with one on a failure.
    parent : QObject
    """

    def __init__(
        self,
        dialog: BatchDialog,
        ended: dict[int, ImageEnded],
        say: Callable[..., None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._dialog, self._ended, self._say = dialog, ended, say
        #: Tables of measurements of skipped images, from former batches, by row.
        self.former: dict[int, Path] = {}
        #: Name or path of the model that segmented.
        self.model = ""
        self._worker = FileWorker("tables", self)
        dialog.batch_copy_button.clicked.connect(self._copy)
        dialog.batch_save_button.clicked.connect(self._save)
        dialog.batch_measured_button.clicked.connect(self._save_measured)

    def enable(self, over: bool) -> None:
        """Offer what can be saved; `over` is True once a batch has ended."""
        for button in (self._dialog.batch_copy_button, self._dialog.batch_save_button):
            button.setEnabled(over)
        self._dialog.batch_measured_button.setEnabled(over and bool(self._measured))

    def shutdown(self) -> None:
        """End; a table that is being written is finished."""
        self._worker.close()

    @property
    def _measured(self) -> list[Path]:
        """Tables of measurements of this batch and of what it skipped, in the order of the images."""
        written = {row: path for row, end in self._ended.items() for path in end.written if _is_table(path)}
        return [path for _, path in sorted({**self.former, **written}.items())]

    def _copy(self) -> None:
        rows = self._dialog.batch_table.rows
        QGuiApplication.clipboard().setText(table_of(rows, self._ended, tabs=True, model=self.model))

    def _save(self) -> None:
        answer = self._ask("Save summary", "segmentation summary.csv")
        if answer is None:
            return
        path, overwrite = answer
        try:
            rows = self._dialog.batch_table.rows
            save_table(path, table_of(rows, self._ended, model=self.model), overwrite=overwrite)
        except DsparseError as error:
            self._say(str(error), failed=True)

    def _save_measured(self) -> None:
        answer = self._ask("Save the objects of all images", "objects of all images.csv")
        if answer is None:
            return
        path, overwrite = answer
        join = partial(join_tables, self._measured, path, overwrite=overwrite)
        self._worker.run(join, partial(self._on_joined, path), self._on_failed)

    def _on_joined(self, path: Path, rows: int) -> None:
        count = len(self.former.keys() - self._ended.keys())
        skipped = "1 skipped image" if count == 1 else f"{count} skipped images"
        among = f", those of {skipped} as they were measured before" if count else ""
        self._say(f"{rows:,} objects saved to {path.name}{among}.")

    def _on_failed(self, sentence: str) -> None:
        self._say(sentence, failed=True)

    def _ask(self, title: str, suggestion: str) -> tuple[Path, bool] | None:
        folder = Path(self._dialog.batch_output_edit.text().strip())
        beside = folder if folder.is_dir() else None
        return ask_save_path(self._dialog, title, suggestion, _CSV, beside)


def _is_table(path: Path) -> bool:
    return path.name.endswith("_measurements.csv")
