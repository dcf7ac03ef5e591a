"""The question where images of a project are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_dsparse.gui.widgets.dialogs import ask_folder, ask_open_path
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.gui.widgets.rows import row_of

#: Rows shown before the list scrolls.
_MOST_ROWS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class MissingRow:
    """One image.

    Parameters
    ----------
    name, problem, tip : str
    store : bool
        It is a folder, as a Zarr store is.
    """

    name: str
    problem: str
    tip: str
    store: bool = False


@dataclass(frozen=True, slots=True)
class WhereItIs:
    """The user's answer: a folder to search for all images, or the place of one.

    Parameters
    ----------
    path : Path
    row : int or None
        Number of the image that is at this very path; None for a folder to search.
    """

    path: Path
    row: int | None


def ask_where(
    rows: Sequence[MissingRow],
    explanation: str,
    problem: str,
    parent: QWidget,
    *,
    folder: Path | None = None,
) -> WhereItIs | None:
    """Ask where images are; None to open the project without them.

    Parameters
    ----------
    rows : sequence of MissingRow
    explanation : str
    problem : str
        Result of the answer before, a sentence; empty the first time.
    parent : QWidget
    folder : Path, optional
        Where to start looking.
    """
    dialog = MissingDialog(rows, explanation, problem, parent, folder)
    try:
        dialog.exec()
        return dialog.answer
    finally:
        dialog.deleteLater()


class MissingDialog(QDialog):
    """A list of images, and two ways to say where they are; parameters as of `ask_where`."""

    def __init__(
        self,
        rows: Sequence[MissingRow],
        explanation: str,
        problem: str,
        parent: QWidget,
        folder: Path | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("missing_dialog")
        self.setWindowTitle("Images not found")
        self.answer: WhereItIs | None = None
        self._rows, self._folder = rows, folder
        self.list = QListWidget()
        self.list.setObjectName("missing_list")
        self.list.setToolTip("Images of the project that are not where they were, or have changed.")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        for row in rows:
            item = QListWidgetItem(f"{row.name}: {row.problem}")
            item.setToolTip(plain(row.tip))
            self.list.addItem(item)
        height = self.list.sizeHintForRow(0) + 2
        self.list.setFixedHeight(height * min(max(len(rows), 2), _MOST_ROWS_SHOWN) + 6)
        self.folder_button = self._button(
            "Search a folder…",
            "missing_folder_button",
            "Look for all of them, by their names, in a folder and in those beneath it.",
        )
        self.file_button = self._button(
            "Choose the file…",
            "missing_file_button",
            "Say which file the selected image is now, if it has another name.",
        )
        self.without_button = self._button(
            "Open without",
            "missing_without_button",
            "Open the project without these images; they stay in it, with their strokes.",
        )
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addWidget(_label(explanation))
        layout.addWidget(self.list)
        if problem:
            layout.addWidget(_label(problem))
        layout.addLayout(row_of(self.folder_button, self.file_button, None, self.without_button))
        self.setMinimumWidth(440)
        self.folder_button.clicked.connect(self._ask_folder)
        self.file_button.clicked.connect(self._ask_file)
        self.without_button.clicked.connect(self.reject)
        self.folder_button.setDefault(True)
        self.list.setCurrentRow(0)

    def _ask_folder(self) -> None:
        for folder in ask_folder(self, "Search a folder for the images", self._folder):
            self._answer(WhereItIs(folder, None))

    def _ask_file(self) -> None:
        number = max(0, self.list.currentRow())
        row = self._rows[number]
        if row.store:
            found = ask_folder(self, f"Choose what {row.name} is now", self._folder)
        else:
            path = ask_open_path(self, f"Choose what {row.name} is now", "All files (*)", self._folder)
            found = [] if path is None else [path]
        for path in found:
            self._answer(WhereItIs(path, number))

    def _answer(self, answer: WhereItIs) -> None:
        self.answer = answer
        self.accept()

    def _button(self, text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setToolTip(tip)
        return button


def _label(text: str) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)  # names may look like HTML
    label.setWordWrap(True)
    return label
