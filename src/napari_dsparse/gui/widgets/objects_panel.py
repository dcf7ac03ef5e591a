"""Controls for finding objects: what counts as one, and the buttons that find and measure them."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.gui.widgets.rows import row_of
from napari_dsparse.gui.widgets.swatch import swatch
from napari_dsparse.prediction.object_options import SPLITTING, ObjectOptions

#: Largest size of objects and holes that can be asked for, in pixels.
_LARGEST = 10_000_000
#: Values of the choice of planes.
EACH_PLANE, OVER_PLANES = "each plane by itself", "over planes, in 3-D"


class ObjectsPanel(QWidget):
    """The options of `ObjectOptions`, a preview, and buttons; it knows nothing of layers or threads."""

    #: The user changed an option.
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: tuple[ClassInfo, ...] = ()
        self._left_out: frozenset[str] | None = None  # names of classes; None leaves out the first
        self._make_controls()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addLayout(self._options())
        layout.addLayout(row_of(self.border_objects_check, None, self.preview_check))
        layout.addLayout(row_of(self.objects_button, self.measure_button))
        layout.addLayout(row_of(self.objects_progress, self.objects_cancel_button))
        layout.addWidget(self.objects_label)
        self.show_classes(())
        self.show_planes(False)
        self.show_progress(None)

    @property
    def options(self) -> ObjectOptions:
        """The options that the controls stand at."""
        return ObjectOptions(
            classes=None if self._left_out is None else self._chosen(),
            min_size=self.min_size_spin.value(),
            max_hole=self.max_hole_spin.value(),
            splitting=self.splitting_slider.value() / 100,
            border_objects=self.border_objects_check.isChecked(),
            volume=self.planes_combo.isVisibleTo(self) and self.planes_combo.currentText() == OVER_PLANES,
        )

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Offer these classes, keeping the choice among those whose names stay."""
        menu = self._classes_menu
        if tuple(classes) == self._classes and menu.actions():
            return
        self._classes = tuple(classes)
        menu.clear()
        chosen = self._chosen()
        for number, info in enumerate(self._classes, start=1):
            action = QAction(swatch(info.color), info.name, menu)
            action.setCheckable(True)
            action.setChecked(number in chosen)
            action.setData(number)
            menu.addAction(action)
        self._name_classes()

    def show_planes(self, shown: bool) -> None:
        """Offer to connect planes, where there are any in depth."""
        self._planes_label.setVisible(shown)
        self.planes_combo.setVisible(shown)

    def show_progress(self, fraction: float | None) -> None:
        """Set the progress bar; None hides it."""
        for control in (self.objects_progress, self.objects_cancel_button):
            control.setVisible(fraction is not None)
        if fraction is not None:
            self.objects_progress.setValue(round(fraction * self.objects_progress.maximum()))

    def say(self, sentence: str) -> None:
        """Show a sentence below the buttons."""
        self.objects_label.setText(sentence)
        self.objects_label.setVisible(bool(sentence))

    # -- classes --------------------------------------------------------------------------------------------

    def _chosen(self) -> tuple[int, ...]:
        out = self._left_out
        if out is None:
            return tuple(range(2, len(self._classes) + 1))
        return tuple(n for n, info in enumerate(self._classes, start=1) if info.name not in out)

    def _on_class_toggled(self, action: QAction) -> None:
        chosen = {each.data() for each in self._classes_menu.actions() if each.isChecked()}
        if not chosen:
            action.setChecked(True)  # nothing would be an object
            return
        self._left_out = frozenset(
            info.name for number, info in enumerate(self._classes, start=1) if number not in chosen
        )
        self._name_classes()
        self.changed.emit()

    def _name_classes(self) -> None:
        chosen = self._chosen()
        names = ", ".join(self._classes[number - 1].name for number in chosen)
        font = self.object_classes_button.fontMetrics()
        self.object_classes_button.setText(font.elidedText(names, Qt.TextElideMode.ElideRight, 110) or "none")
        self.object_classes_button.setToolTip(plain(f"Classes whose regions are objects: {names or 'none'}."))
        self.object_classes_button.setEnabled(len(self._classes) > 1)

    # -- making ---------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.object_classes_button = QPushButton("none")
        self._classes_menu = QMenu(self.object_classes_button)
        self._classes_menu.setObjectName("object_classes_menu")
        self._classes_menu.triggered.connect(self._on_class_toggled)
        self.object_classes_button.setMenu(self._classes_menu)
        self.splitting_slider = QSlider(Qt.Orientation.Horizontal)
        self.splitting_slider.setRange(0, 100)
        self.splitting_slider.setPageStep(5)
        self.splitting_slider.setMinimumWidth(60)
        self.splitting_slider.setValue(round(100 * SPLITTING))
        self.splitting_slider.setToolTip(
            plain(
                "Touching objects are cut apart where the neck between them is narrower than this share of "
                "the narrower one's width: 0 % never, 100 % at every neck."
            )
        )
        self.splitting_label = QLabel()
        self.min_size_spin = _pixels("Leave out objects of fewer pixels than this.")
        self.max_hole_spin = _pixels("Fill holes in objects of up to this many pixels; 0 fills none.")
        self.planes_combo = QComboBox()
        self.planes_combo.addItems([EACH_PLANE, OVER_PLANES])
        self.planes_combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.planes_combo.setMinimumContentsLength(8)
        self.planes_combo.setToolTip("Number the objects of each plane, or connect them through the planes.")
        self.border_objects_check = QCheckBox("keep at the edge")
        self.border_objects_check.setChecked(True)
        self.border_objects_check.setToolTip(
            "Keep objects that touch the image's edge, which may be cut off."
        )
        self.preview_check = QCheckBox("preview")
        self.preview_check.setToolTip(
            "Show the objects of the view in a layer of their own while you try the options."
        )
        self.objects_button = QPushButton("Find objects")
        self.objects_button.setToolTip(
            "Number the objects of the whole image, which is segmented first if it is not yet."
        )
        self.measure_button = QPushButton("Measure")
        self.measure_button.setToolTip(
            "Make a table of the objects: sizes, shapes, intensities; if need be they are found anew."
        )
        self.objects_progress = QProgressBar()
        self.objects_progress.setRange(0, 1000)
        self.objects_cancel_button = QPushButton("Cancel")
        self.objects_cancel_button.setToolTip("Stop finding or measuring; nothing is changed.")
        self.objects_label = QLabel()
        self.objects_label.setWordWrap(True)
        self.objects_label.setTextFormat(Qt.TextFormat.PlainText)
        for name, control in vars(self).items():
            if isinstance(control, QWidget) and not name.startswith("_"):
                control.setObjectName(name)
        self._planes_label = QLabel("Connect")
        self.splitting_slider.valueChanged.connect(self._on_splitting)
        for spin in (self.min_size_spin, self.max_hole_spin):
            spin.valueChanged.connect(self.changed)
        self.border_objects_check.toggled.connect(self.changed)
        self.planes_combo.currentIndexChanged.connect(self.changed)
        self._name_splitting()

    def _on_splitting(self) -> None:
        self._name_splitting()
        self.changed.emit()

    def _name_splitting(self) -> None:
        value = self.splitting_slider.value()
        self.splitting_label.setText(f"{value} %" if value else "off")
        self.splitting_label.setMinimumWidth(self.splitting_label.fontMetrics().horizontalAdvance("100 %"))

    def _options(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(5)
        grid.setColumnStretch(1, 1)
        grid.addWidget(QLabel("Objects"), 0, 0)
        grid.addWidget(self.object_classes_button, 0, 1, 1, 2)
        grid.addWidget(QLabel("Splitting"), 1, 0)
        grid.addWidget(self.splitting_slider, 1, 1)
        grid.addWidget(self.splitting_label, 1, 2)
        grid.addWidget(QLabel("Smallest"), 2, 0)
        grid.addWidget(self.min_size_spin, 2, 1, 1, 2)
        grid.addWidget(QLabel("Fill holes to"), 3, 0)
        grid.addWidget(self.max_hole_spin, 3, 1, 1, 2)
        grid.addWidget(self._planes_label, 4, 0)
        grid.addWidget(self.planes_combo, 4, 1, 1, 2)
        return grid


def _pixels(tip: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(0, _LARGEST)
    spin.setSuffix(" px")
    spin.setKeyboardTracking(False)  # while a number is typed, its first digits are not meant
    spin.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
    spin.setToolTip(tip)
    return spin
