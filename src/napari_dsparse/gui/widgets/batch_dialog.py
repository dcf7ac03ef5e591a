"""The dialog that segments many images: which, by what model, into what files."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from importlib.util import find_spec
from types import MappingProxyType

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QGridLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dsparse.gui.widgets.batch_table import BatchTable
from napari_dsparse.gui.widgets.rows import row_of
from napari_dsparse.gui.widgets.status_label import StatusLabel

#: Formats of labels, as the user reads them.
FORMAT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ome-tiff": "OME-TIFF",
        "ome-zarr": "OME-Zarr",
        "png": "PNG, indexed colours",
        "geojson": "GeoJSON for QuPath",
        "imagej-roi": "ImageJ ROIs",
        "coco": "COCO JSON",
    }
)
FORMATS_TIP = (
    "The format of labels and objects. Probabilities and uncertainty are OME-TIFF where it holds labels "
    "only; measurements are CSV."
)


class Existing(Enum):
    """Treatments of images whose results exist."""

    SKIP = "skip"
    OVERWRITE = "overwrite"


class BatchDialog(QDialog):
    """Every control, under its object name; it knows nothing of napari or the engine's threads.

    Parameters
    ----------
    parent : QWidget
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("batch_dialog")
        self.setWindowTitle("Segment many images")
        self._make_controls()
        layout = QVBoxLayout(self)
        layout.setSpacing(6)
        add = (self.batch_files_button, self.batch_folder_button, self.batch_list_button)
        layout.addLayout(row_of(*add, None, self.batch_remove_button))
        layout.addWidget(self.batch_table, 1)
        layout.addLayout(self._choices())
        layout.addWidget(self.batch_progress_bar)
        layout.addWidget(self.batch_status_label)
        summary = (self.batch_copy_button, self.batch_save_button, self.batch_measured_button)
        act = (self.batch_start_button, self.batch_cancel_button, self.batch_close_button)
        layout.addLayout(row_of(*summary, None, *act))
        self.show_running(False)
        self.resize(620, 520)

    @property
    def checks(self) -> tuple[QCheckBox, ...]:
        """Results to write: labels, probabilities, uncertainty, objects, measurements."""
        return (
            self.batch_labels_check,
            self.batch_probabilities_check,
            self.batch_uncertainty_check,
            self.batch_objects_check,
            self.batch_measurements_check,
        )

    def show_running(self, running: bool) -> None:
        """Let choices be made only while nothing runs."""
        for control in self._inputs:
            control.setEnabled(not running)
        self.batch_start_button.setVisible(not running)
        self.batch_cancel_button.setVisible(running)
        self.batch_cancel_button.setEnabled(running)
        self.batch_progress_bar.setVisible(running)

    def _make_controls(self) -> None:
        self.batch_files_button = button("Add files…", "Choose image files to segment.")
        self.batch_folder_button = button("Add folder…", "Segment all images in a folder.")
        self.batch_list_button = button("Add from list", "Segment the images of the list in the dock.")
        self.batch_remove_button = button(
            "Remove", "Take the selected images out of this table, or all if none is selected; files stay."
        )
        self.batch_table = BatchTable()
        self.batch_model_combo = QComboBox()
        self.batch_model_combo.setToolTip("The model to segment by: as it is when you press Segment.")
        self.batch_labels_check = check("labels", "Write the class of every pixel.", checked=True)
        self.batch_probabilities_check = check("probabilities", "Write the probability of every class.")
        self.batch_uncertainty_check = check("uncertainty", "Write how unsure the model is of every pixel.")
        self.batch_objects_check = check("objects", "Write numbered objects, by the options of the dock.")
        self.batch_measurements_check = check("measurements", "Write a table of the objects (CSV).")
        self.batch_format_combo = format_combo()
        self.batch_exposure_check = check(
            "match exposure",
            "Normalise each image by its own grey values: where only the exposure differs from the images "
            "that the model learned from. Not for empty images. A model that learned so does it anyway.",
        )
        self.batch_output_edit = QLineEdit()
        self.batch_output_edit.setPlaceholderText("folder for the results")
        self.batch_output_edit.setToolTip("The folder that results are written to; it is made if need be.")
        self.batch_output_button = button("Choose…", "Choose the folder for the results.")
        self.batch_progress_bar = QProgressBar()
        self.batch_progress_bar.setRange(0, 1000)
        self.batch_status_label = StatusLabel()
        self.batch_status_label.setMinimumHeight(2 * self.fontMetrics().lineSpacing() + 12)
        self.batch_start_button = button("Segment", "Segment the images of the table in the background.")
        self.batch_start_button.setDefault(True)
        self.batch_cancel_button = button("Cancel", "Stop; the images that are done stay.")
        self.batch_close_button = button("Close", "Close this dialog; images go on being segmented.")
        self.batch_copy_button = button("Copy summary", "Copy what has become of each image, as a table.")
        self.batch_save_button = button("Save summary…", "Save what has become of each image, as CSV.")
        self.batch_measured_button = button(
            "Save table…", "Save the objects of all images as one table, as CSV."
        )
        for each in (self.batch_copy_button, self.batch_save_button, self.batch_measured_button):
            each.setEnabled(False)
        for name, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(name)
            if isinstance(control, QPushButton) and control is not self.batch_start_button:
                control.setAutoDefault(False)  # Return in the folder's field starts, and nothing else
        self._inputs: tuple[QWidget, ...] = (
            *(self.batch_files_button, self.batch_folder_button, self.batch_list_button),
            *(self.batch_remove_button, self.batch_model_combo, *self.checks),
            *(self.batch_format_combo, self.batch_exposure_check),
            *(self.batch_output_edit, self.batch_output_button, self.batch_start_button),
        )
        self.batch_close_button.clicked.connect(self.hide)

    def _choices(self) -> QGridLayout:
        return form_grid(
            ("Model", row_of(self.batch_model_combo, self.batch_exposure_check)),
            ("Write", row_of(*self.checks, None)),
            ("Format", row_of(self.batch_format_combo, None)),
            ("Into", row_of(self.batch_output_edit, self.batch_output_button)),
        )


def ask_existing(parent: QWidget, count: int, images: int) -> Existing | None:
    """The treatment of `count` of so many images, whose results exist; None if the user does not go on."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Results exist")
    box.setText(f"{count} of {images} image{'' if images == 1 else 's'} have results in this folder already.")
    skip = box.addButton("Skip these images", QMessageBox.ButtonRole.AcceptRole)
    overwrite = box.addButton("Overwrite", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(skip)
    box.exec()
    clicked = box.clickedButton()
    box.deleteLater()
    if clicked is skip:
        return Existing.SKIP
    return Existing.OVERWRITE if clicked is overwrite else None


def format_combo() -> QComboBox:
    """A choice of the formats of labels that can be written here; each item's data is its key."""
    combo = QComboBox()
    for key, name in FORMAT_NAMES.items():
        if key != "ome-zarr" or find_spec("zarr") is not None:
            combo.addItem(name, key)
    combo.setToolTip(FORMATS_TIP)
    return combo


def button(text: str, tip: str) -> QPushButton:
    """A button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    return made


def check(text: str, tip: str, *, checked: bool = False) -> QCheckBox:
    """A check box with a tooltip."""
    made = QCheckBox(text)
    made.setToolTip(tip)
    made.setChecked(checked)
    return made


def form_grid(*lines: tuple[str, QLayout]) -> QGridLayout:
    """Lines of a form, each with its label in front."""
    grid = QGridLayout()
    grid.setSpacing(6)
    grid.setColumnStretch(1, 1)
    for number, (text, line) in enumerate(lines):
        label = QLabel(text)
        label.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        grid.addWidget(label, number, 0)
        grid.addLayout(line, number, 1)
    return grid
