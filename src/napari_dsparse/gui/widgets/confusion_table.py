"""The table of mistakes on held-out strokes: what was painted, against what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.gui.widgets.swatch import swatch
from napari_dsparse.live.expected_iou import NOTHING_YET, WHAT_IT_IS, range_text
from napari_dsparse.training.progress import TrainingProgress

#: Tooltip of the table.
WHAT_FOR = (
    "<p>Which classes are taken for one another, on strokes that the classifier was fitted without.</p>"
    "<p>Not how often that happens elsewhere: strokes lie where a class is easy to see, and later where it "
    "was mistaken.</p>"
)
#: Rows shown before the table scrolls.
MOST_ROWS_SHOWN = 6
#: Opacity of a cell with all of a class's pixels, 0..255.
FULL_CELL = 150


class ConfusionTable(QTableWidget):
    """A row for every class painted, in percent of it a column for every class found, then its IoU."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 0, parent)
        self._classes: tuple[ClassInfo, ...] = ()
        self._confusion: tuple[tuple[int, ...], ...] = ()
        self._ranges: Mapping[int, tuple[float, float]] = {}
        self._instead = NOTHING_YET
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.horizontalHeader().setMinimumSectionSize(30)
        self.setToolTip(WHAT_FOR)
        self._draw()

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Name and colour rows and columns after these classes."""
        if tuple(classes) != self._classes:
            self._classes = tuple(classes)
            self._draw()

    def show_progress(self, progress: TrainingProgress | None, *, instead: str = NOTHING_YET) -> None:
        """Show what was found on held-out strokes, or `instead` before there are enough of them."""
        enough = progress is not None and bool(progress.held_out_range)
        confusion = progress.held_out_confusion if progress and enough else ()
        ranges = progress.held_out_range if progress else {}
        if (confusion, ranges, instead) != (self._confusion, self._ranges, self._instead):
            self._confusion, self._ranges, self._instead = confusion, ranges, instead
            self._draw()

    def _draw(self) -> None:
        named = self._confusion[: len(self._classes)]
        held = [number for number, row in enumerate(named) if sum(row)]
        self.setRowCount(len(held) or 1)
        if not held:
            self._say_why_empty()
            return
        columns = range(len(named))
        self.setColumnCount(len(columns) + 2)
        self.setHorizontalHeaderLabels(["painted", *("" for _ in columns), "IoU"])
        self.horizontalHeader().show()
        for column, number in enumerate(columns, start=1):
            head = QTableWidgetItem(swatch(self._classes[number].color), f"{number + 1}")
            name = self._classes[number].name
            head.setToolTip(plain(f"Found as '{name}', in percent of what was painted."))
            self.setHorizontalHeaderItem(column, head)
        for row, number in enumerate(held):
            self._draw_row(row, number, columns)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._fit_height()

    def _draw_row(self, row: int, number: int, columns: Sequence[int]) -> None:
        info, counts = self._classes[number], self._confusion[number]
        painted = sum(counts)
        self.setItem(row, 0, QTableWidgetItem(swatch(info.color), info.name))
        for column, found in enumerate(columns, start=1):
            share = counts[found] / painted
            cell = _right_aligned(f"{100 * share:.0f}")
            color = QColor(self._classes[found].color)
            color.setAlpha(round(FULL_CELL * share))
            cell.setBackground(color)
            cell.setToolTip(
                plain(
                    f"{counts[found]:,} of {painted:,} held-out pixels of '{info.name}' "
                    f"were found as '{self._classes[found].name}'."
                )
            )
            self.setItem(row, column, cell)
        span = self._ranges.get(number + 1)
        iou = _right_aligned("" if span is None else range_text(*span))
        iou.setToolTip(WHAT_IT_IS)
        self.setItem(row, len(columns) + 1, iou)

    def _say_why_empty(self) -> None:
        self.setColumnCount(1)
        self.horizontalHeader().hide()
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.setItem(0, 0, QTableWidgetItem(self._instead.replace("\n", " ")))
        self._fit_height()

    def _fit_height(self) -> None:
        rows = min(self.rowCount(), MOST_ROWS_SHOWN) * self.verticalHeader().defaultSectionSize()
        head = 0 if self.horizontalHeader().isHidden() else self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(rows + head + 2 * self.frameWidth())


def _right_aligned(text: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
    return item
