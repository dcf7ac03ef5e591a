"""The controls of the dock, laid out; they know nothing of napari or the engine's threads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QElidingLabel

from napari_dsparse.gui.widgets.canvas_focus import CanvasFocus
from napari_dsparse.gui.widgets.class_table import ClassTable
from napari_dsparse.gui.widgets.confusion_table import ConfusionTable
from napari_dsparse.gui.widgets.curves import LearningCurves
from napari_dsparse.gui.widgets.images_list import ImagesList
from napari_dsparse.gui.widgets.layer_combo import LayerCombo
from napari_dsparse.gui.widgets.objects_panel import ObjectsPanel
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.gui.widgets.rows import row_of
from napari_dsparse.gui.widgets.status_label import StatusLabel, StatusPlace
from napari_dsparse.gui.widgets.swatch import arrow
from napari_dsparse.gui.widgets.unsaved_notice import UnsavedNotice
from napari_dsparse.machine.devices import available_devices

if TYPE_CHECKING:
    from napari.layers import Image, Labels


#: A section's title is a flat line that folds it, not a button that looks pressed.
SECTION_STYLE = """
    QPushButton, QPushButton:checked { background: transparent; text-align: left; }
    QPushButton { font-weight: bold; padding: 2px; }
    QPushButton:hover { text-decoration: underline; }
"""


#: What 'match exposure' does, and why it cannot be taken back.
MATCHING = (
    "Normalise every image by its own grey values, in learning and segmenting: for images that differ in "
    "exposure alone. Not for empty images."
)
MATCHED_ALWAYS = (
    "The loaded model learned by each image's own grey values, and segments so; Reset forgets it."
)


class Panel(QWidget):
    """Every control, under the object names that scripts and tests rely on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._make_controls()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        layout.addWidget(self.unsaved_notice)
        layout.addLayout(self._layers())
        self.images_section = _section("Images to learn from", self._images(), opened=False)
        layout.addWidget(self.images_section)
        layout.addWidget(self.class_table)
        classes = (self.remove_class_button, self.merge_class_button, self.undo_class_button)
        layout.addLayout(row_of(self.add_class_button, *classes, None))
        layout.addLayout(
            row_of(self.live_check, None, self.train_button, self.pause_button, self.stop_button)
        )
        layout.addWidget(StatusPlace(self.status_label))
        layout.addWidget(_section("Segmentation", self._segmentation()))
        layout.addWidget(_section("Objects", self.objects_panel, opened=False))
        layout.addWidget(_section("Learning", self.curves))
        layout.addWidget(_section("Held-out mistakes, %", self.confusion_table, opened=False))
        layout.addWidget(_section("Model", self._model()))
        layout.addStretch(1)
        self.show_channels(False)
        self.show_depth(False, "off")
        self.show_progress(None)
        self.canvas_focus = CanvasFocus(self)

    def show_progress(self, fraction: float | None) -> None:
        """Set the progress bar, in the place of the buttons; None brings these back."""
        for control in (self.progress_bar, self.cancel_button):
            control.setVisible(fraction is not None)
        for control in (self.predict_button, self.export_button):
            control.setVisible(fraction is None)
        if fraction is not None:
            self.progress_bar.setValue(round(fraction * self.progress_bar.maximum()))

    def show_channels(self, choice: bool, combination: bool = False) -> None:
        """Offer the choice of channels, and the combination of layers, only where there are any."""
        self._channels_label.setVisible(choice or combination)
        self.channels_combo.setVisible(choice or combination)
        self.channels_combo.setEnabled(choice)
        self.combine_button.setVisible(combination)

    def show_depth(self, shown: bool, depth: str) -> None:
        """Offer neighbouring planes only where there are any."""
        self.depth_check.setVisible(shown)
        self.depth_check.blockSignals(True)
        self.depth_check.setChecked(depth == "neighbours")
        self.depth_check.blockSignals(False)

    def show_exposure(self, matched: bool, fixed: bool) -> None:
        """Tick 'match exposure', and hold it where the model cannot do otherwise."""
        self.exposure_check.blockSignals(True)
        self.exposure_check.setChecked(matched)
        self.exposure_check.blockSignals(False)
        self.exposure_check.setEnabled(not fixed)
        self.exposure_check.setToolTip(MATCHED_ALWAYS if fixed else MATCHING)

    def show_project(
        self, folder: Path | None, *, saved: bool, problem: str | None, can_open: bool, can_save: bool
    ) -> None:
        """Say whether the list is in a project, and all of it is saved; `problem` is why that failed."""
        if folder is None:
            text, tip = "In no project yet", "Strokes are kept for the next start all the same."
        else:
            later = "NOT all saved" if problem else "Saved soon"
            text, tip = f"{'All saved' if saved else later}: {folder.name}", str(folder)
        self.project_label.setText(text)
        self.project_label.setToolTip(plain(problem or tip))
        self.project_save_button.setText("Save…" if folder is None else "Save")
        self.project_save_button.setEnabled(can_save)
        self.project_open_button.setEnabled(can_open)

    def invite(self, button: QPushButton, inviting: bool) -> None:
        """Highlight `button` as the next to press."""
        font = button.font()
        if font.bold() != inviting:
            font.setBold(inviting)
            button.setFont(font)

    # -- making ---------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.image_combo: LayerCombo[Image] = LayerCombo("open an image")
        self.channels_combo = QComboBox()
        self.combine_button = _button(
            "Combine…", "Make one image of single-channel layers, its channels in the order you choose."
        )
        self.labels_combo: LayerCombo[Labels] = LayerCombo("press New")
        self.new_labels_button = _button("New", "Make a layer to paint on, with the image's scale and place.")
        self.images_list = ImagesList()
        self.add_image_button = _button("Add", "Learn from several images: open layers, files, a folder.")
        self.remove_image_button = _button(
            "Remove", "Take the selected image out of the list; its layers and its file stay."
        )
        self.project_open_button = _button("Open…", "Open a project: its images, strokes and classes.")
        self.project_recent_button = _button("", "New project, save as, and projects open before.")
        self.project_recent_button.setAccessibleName("More for projects")
        self.project_recent_button.setFixedWidth(24)
        self.project_save_button = _button(
            "Save…", "Keep images, strokes, classes and model in a project; changes follow by themselves."
        )
        self.project_label = QElidingLabel()
        self.project_label.setElideMode(Qt.TextElideMode.ElideRight)
        self.project_label.setTextFormat(Qt.TextFormat.PlainText)
        self.project_label.setMinimumWidth(40)  # a long name is cut off rather than widen the dock
        self.only_this_check = _check("show only this", "Hide the layers of the other images in the list.")
        self.only_this_check.setChecked(True)
        self.unsaved_notice = UnsavedNotice()
        self.class_table = ClassTable()
        self.add_class_button = _button("Add class", "One class more; at least two are needed.")
        self.remove_class_button = _button("Remove", "Remove the selected class; asks about its paint.")
        self.merge_class_button = _button("Merge", "Give the selected class's paint to another class.")
        self.undo_class_button = _button("Undo", "Take back the last edit of the classes.")
        self.live_check = _check("Live", "Learn from every stroke as soon as it is painted.")
        self.live_check.setChecked(True)
        self.train_button = _button(
            "Train",
            "Learn from the strokes there are. Pressed again, it takes a round of gradient steps through all "
            "layers, which seldom helps.",
        )
        self.pause_button = _button("Pause", "Hold the gradient steps; press again to go on.")
        self.pause_button.setCheckable(True)
        self.stop_button = _button("Stop", "End gradient steps and segmenting; the last model stays.")
        self.status_label = StatusLabel()
        self.curves = LearningCurves()
        self.confusion_table = ConfusionTable()
        self.predict_button = _button("Segment whole image", "Segment every pixel with the newest model.")
        self.uncertainty_check = _check("uncertainty", "Show where the model is unsure, as a layer.")
        self.probabilities_check = _check("probabilities", "Show the probability of every class, as layers.")
        self.overlay_opacity = QSlider(Qt.Orientation.Horizontal)
        self.overlay_opacity.setRange(0, 100)
        self.overlay_opacity.setMinimumWidth(60)
        self.overlay_opacity.setToolTip("Opacity of the segmentation over the image.")
        self.hide_background_check = _check(
            "hide background", "Do not show the first class in the segmentation; exports keep it."
        )
        self.hold_label = QLabel()
        self.hold_label.setToolTip("The results are hidden while the key is held; strokes stay.")
        self.next_spot_button = _button("Next spot", "Go where a stroke would help most.")
        self.batch_button = _button("Segment many…", "Segment files, folders or the list into files.")
        self.progress_bar = QProgressBar()
        self.progress_bar.setRange(0, 1000)
        self.cancel_button = _button("Cancel", "Stop segmenting; what is done stays.")
        self.export_button = _button(
            "Export…",
            "Write the whole segmentation: OME-TIFF, OME-Zarr, PNG, GeoJSON for QuPath, ImageJ ROIs, COCO.",
        )
        self.objects_panel = ObjectsPanel()
        self.export_menu_button = _button(
            "Export more", "Write probabilities, uncertainty or objects of this image, in the background."
        )
        self.save_model_button = _button("Save…", "Save the model to apply it elsewhere.")
        self.load_model_button = _button("Load…", "Load a saved model and apply it here.")
        self.reset_button = _button("Reset", "Forget the model and begin anew; strokes and results stay.")
        self.model_label = QLabel()
        self.model_label.setTextFormat(Qt.TextFormat.PlainText)
        self.model_label.setMinimumWidth(80)  # a long name is cut off rather than widen the dock
        self.exposure_check = _check("match exposure", MATCHING)
        self.depth_check = _check(
            "neighbouring planes",
            "Look at the planes before and behind each plane of the stack too; takes no gradient steps.",
        )
        self.device_combo = QComboBox()
        self.device_combo.addItems(["auto", *available_devices()])
        self.device_combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.device_combo.setMinimumContentsLength(4)
        self.device_combo.setToolTip("What computes; auto is the fastest there is.")
        self.channels_combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.channels_combo.setMinimumContentsLength(4)
        self.channels_combo.setMinimumWidth(60)  # beside the button
        self.channels_combo.setToolTip("Which axis holds the channels; the others are slices.")
        self.image_combo.setToolTip("The image to segment.")
        for name, control in vars(self).items():
            if isinstance(control, QWidget):
                control.setObjectName(name)
        self.curves.setObjectName("loss_plot")

    def _layers(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(5)
        grid.setColumnStretch(1, 1)
        self._channels_label = QLabel("Channels")
        grid.addWidget(QLabel("Image"), 0, 0)
        grid.addWidget(self.image_combo, 0, 1, 1, 2)
        grid.addWidget(self._channels_label, 1, 0)
        channels = row_of(self.channels_combo, self.combine_button)
        channels.setStretch(0, 1)
        grid.addLayout(channels, 1, 1, 1, 2)
        grid.addWidget(QLabel("Strokes"), 2, 0)
        grid.addWidget(self.labels_combo, 2, 1)
        grid.addWidget(self.new_labels_button, 2, 2)
        return grid

    def _images(self) -> QWidget:
        return _column(
            row_of(self.images_list),
            row_of(self.add_image_button, self.remove_image_button, None, self.only_this_check),
            row_of(
                self.project_open_button,
                self.project_recent_button,
                self.project_save_button,
                self.project_label,
            ),
        )

    def _segmentation(self) -> QWidget:
        whole = row_of(self.predict_button, self.export_button, self.progress_bar, self.cancel_button)
        whole.addStrut(28)  # as high with the bar as with the buttons
        return _column(
            row_of(QLabel("Overlay"), self.overlay_opacity, self.hold_label),
            whole,
            row_of(self.batch_button, self.export_menu_button),
            row_of(self.uncertainty_check, self.probabilities_check, None),
            row_of(self.hide_background_check, None, self.next_spot_button),
        )

    def _model(self) -> QWidget:
        return _column(
            row_of(self.model_label),
            row_of(self.save_model_button, self.load_model_button, self.reset_button, None),
            row_of(self.exposure_check, None),
            row_of(self.depth_check, None),
            row_of(QLabel("Device"), self.device_combo, None),
        )

    def set_foreground(self, color: str) -> None:
        """Colours of axes, arrows and failures, to suit a theme whose text has this colour."""
        self.curves.set_foreground(color)
        self.status_label.set_foreground(color)
        self.unsaved_notice.set_foreground(color)
        for section in self.findChildren(QCollapsible):
            section.setExpandedIcon(arrow(color, down=True))
            section.setCollapsedIcon(arrow(color, down=False))


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button


def _check(text: str, tip: str) -> QCheckBox:
    check = QCheckBox(text)
    check.setToolTip(tip)
    return check


def _column(*rows: QHBoxLayout) -> QWidget:
    box = QWidget()
    column = QVBoxLayout(box)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(5)
    for row in rows:
        column.addLayout(row)
    return box


def _section(title: str, content: QWidget, *, opened: bool = True) -> QCollapsible:
    """A part that can be folded away."""
    section = QCollapsible(title)
    section.setDuration(0)
    section.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
    section.toggleButton().setStyleSheet(SECTION_STYLE)
    section.layout().setContentsMargins(0, 0, 0, 0)
    section.content().layout().setContentsMargins(0, 2, 0, 2)
    section.addWidget(content)
    if opened:
        section.expand(animate=False)
    return section
