"""The dock widget: draws a session and passes on what the user does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from napari_dsparse.gui.controller import Controller
from napari_dsparse.gui.dialogs import ask_open_path, ask_save_path
from napari_dsparse.gui.expected_iou import NOT_AFTER_STEPS, NOTHING_YET, WHAT_IT_IS
from napari_dsparse.gui.exporting import DEFAULT_SUFFIX, EXPORT_FILTERS, MODEL_FILTER, MODEL_SUFFIX
from napari_dsparse.gui.image_frame import ChannelChoice, channel_choices
from napari_dsparse.gui.layer_choice import images_of, likely_strokes, strokes_of
from napari_dsparse.gui.panel import Panel
from napari_dsparse.gui.session import Session, Training, describe, progress_text

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image


class SegmentationDock(QWidget):
    """Paint a few strokes, get the whole image segmented.

    Parameters
    ----------
    napari_viewer : Viewer
        napari passes it in, by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._closed = False
        self._docked = False
        self._choices: tuple[ChannelChoice, ...] = ()
        self._shown = Session()
        self.controller = Controller(napari_viewer)
        self.panel = Panel()

        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        self.setMinimumWidth(264)

        self._connect()
        self.controller.store.changed.connect(self._render)
        self._viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        self._render(self.controller.store.now)
        self.reset_choices()

    # -- layers ---------------------------------------------------------------------------------------------

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers there are; napari calls this whenever they change."""
        if self._closed:
            return
        panel = self.panel
        images = images_of(self._viewer)
        before = panel.image_combo.layer
        image = before if any(one is before for one in images) else None
        if image is None and images:
            active = self._viewer.layers.selection.active
            image = next((one for one in images if active is not None and one == active), images[-1])
        panel.image_combo.offer([(one.name, one) for one in images], image)
        if image is not before:
            self._choose_image(image)
        else:
            self._offer_strokes()

    def _choose_image(self, image: Image | None) -> None:
        self._choices = () if image is None else channel_choices(image)
        combo = self.panel.channels_combo
        combo.blockSignals(True)
        combo.clear()
        combo.addItems([choice.text for choice in self._choices])
        combo.blockSignals(False)
        self.panel.show_channels(len(self._choices) > 1)
        self._choose_channels()

    def _choose_channels(self) -> None:
        index = self.panel.channels_combo.currentIndex()
        choice = self._choices[index] if 0 <= index < len(self._choices) else None
        self.controller.choose_image(self.panel.image_combo.layer, choice)
        self.panel.curves.clear_curves()
        self._offer_strokes(anew=True)

    def _offer_strokes(self, *, anew: bool = False) -> None:
        combo, frame = self.panel.labels_combo, self.controller.frame
        layers = strokes_of(self._viewer)
        before = combo.layer
        chosen = before if not anew and any(one is before for one in layers) else None
        if chosen is None and frame is not None:
            chosen = likely_strokes(layers, frame)
        combo.offer([(one.name, one) for one in layers], chosen)
        self.controller.choose_strokes(chosen)

    def _new_strokes(self) -> None:
        layer = self.controller.new_strokes()
        layers = strokes_of(self._viewer)
        self.panel.labels_combo.offer([(one.name, one) for one in layers], layer)

    # -- user actions ---------------------------------------------------------------------------------------

    def _connect(self) -> None:
        panel, controller = self.panel, self.controller
        panel.image_combo.currentIndexChanged.connect(self._on_image_picked)
        panel.channels_combo.currentIndexChanged.connect(self._choose_channels)
        panel.labels_combo.currentIndexChanged.connect(self._on_strokes_picked)
        panel.new_labels_button.clicked.connect(self._new_strokes)
        panel.class_table.edited.connect(controller.set_classes)
        panel.class_table.picked.connect(controller.learning.pick_class)
        panel.add_class_button.clicked.connect(controller.add_class)
        panel.live_check.toggled.connect(controller.learning.set_live)
        panel.train_button.clicked.connect(controller.learning.train)
        panel.pause_button.toggled.connect(controller.learning.pause)
        panel.stop_button.clicked.connect(controller.stop)
        panel.predict_button.clicked.connect(controller.segmenting.predict_whole)
        panel.cancel_button.clicked.connect(controller.cancel)
        panel.uncertainty_check.toggled.connect(controller.segmenting.show_uncertainty)
        panel.probabilities_check.toggled.connect(controller.segmenting.show_probabilities)
        panel.exposure_check.toggled.connect(controller.segmenting.match_exposure)
        panel.next_spot_button.clicked.connect(controller.segmenting.next_spot)
        panel.export_button.clicked.connect(self._export)
        panel.save_model_button.clicked.connect(self._save_model)
        panel.load_model_button.clicked.connect(self._load_model)
        panel.device_combo.currentTextChanged.connect(controller.set_device)

    def _on_image_picked(self) -> None:
        self._choose_image(self.panel.image_combo.layer)

    def _on_strokes_picked(self) -> None:
        self.controller.choose_strokes(self.panel.labels_combo.layer)

    def _export(self) -> None:
        self._save(
            "Export segmentation",
            f"{self._shown.image} segmentation{DEFAULT_SUFFIX}",
            EXPORT_FILTERS,
            self.controller.export,
        )

    def _save_model(self) -> None:
        self._save(
            "Save model", f"{self._shown.image}{MODEL_SUFFIX}", MODEL_FILTER, self.controller.save_model
        )

    def _save(self, title: str, suggestion: str, filters: str, save: Callable[[Path, bool], None]) -> None:
        answer = ask_save_path(self, title, suggestion, filters)
        if answer is not None:
            save(*answer)

    def _load_model(self) -> None:
        path = ask_open_path(self, "Load model", MODEL_FILTER)
        if path is not None:
            self.controller.load_model(path)

    # -- drawing --------------------------------------------------------------------------------------------

    def _render(self, session: Session) -> None:
        before, self._shown = self._shown, session
        panel = self.panel
        tip = WHAT_IT_IS if session.expected else ""
        panel.status_label.say(describe(session), tip=tip, failed=session.problem is not None)
        shown = (session.classes, session.counts, session.brush, session.expected)
        if shown != (before.classes, before.counts, before.brush, before.expected):
            panel.class_table.show_classes(*shown)
            panel.curves.set_classes(session.classes)
            panel.confusion_table.show_classes(session.classes)
        if session.progress is not None and session.progress is not before.progress:
            panel.curves.add(session.progress)
        elif session.progress is None and before.progress is not None:
            panel.curves.clear_curves()
        stepped = session.progress is not None and session.progress.step > 0
        panel.confusion_table.show_progress(
            session.judged if session.expected else None, instead=NOT_AFTER_STEPS if stepped else NOTHING_YET
        )
        if session.whole != before.whole:
            panel.show_progress(session.whole.fraction if session.whole else None)
            panel.progress_bar.setFormat(progress_text(session.whole) if session.whole else "")
        self._enable(session)

    def _enable(self, session: Session) -> None:
        panel = self.panel
        has_image, has_strokes = session.image is not None, session.strokes is not None
        panel.new_labels_button.setEnabled(has_image)
        panel.invite(panel.new_labels_button, has_image and not has_strokes and not session.has_model)
        panel.class_table.setEnabled(has_strokes or session.has_model)
        panel.add_class_button.setEnabled(has_strokes)
        panel.train_button.setEnabled(has_strokes and session.painted_classes >= 2)
        panel.pause_button.setEnabled(session.stepping)
        panel.pause_button.blockSignals(True)
        panel.pause_button.setChecked(session.training is Training.PAUSED)
        panel.pause_button.blockSignals(False)
        panel.stop_button.setEnabled(session.busy)
        ready = has_image and session.has_model
        panel.predict_button.setEnabled(ready and session.whole is None and not session.writing)
        panel.export_button.setEnabled(ready and session.whole is None and not session.writing)
        panel.save_model_button.setEnabled(session.has_model and not session.writing)
        panel.load_model_button.setEnabled(not session.writing)
        panel.next_spot_button.setEnabled(ready)

    def _on_theme(self, event: Any = None) -> None:
        from napari.utils.theme import get_theme

        self.panel.set_foreground(get_theme(self._viewer.theme).text.as_hex())

    # -- end ------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End the threads and let go of the viewer; called once, however the dock goes."""
        if self._closed:
            return
        self._closed = True
        self.controller.store.changed.disconnect(self._render)
        self._viewer.events.theme.disconnect(self._on_theme)
        self.controller.shutdown()

    def event(self, event: QEvent) -> bool:
        """napari takes a closed dock apart by freeing its widget, without a close event."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.shutdown()
        return bool(super().event(event))

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As wide as it needs to be, and no wider: the picture is what matters."""
        return QSize(320, 720)

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Hear of the whole window being closed, which closes no docks."""
        self.window().removeEventFilter(self)
        self.window().installEventFilter(self)
        super().showEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Let the threads end when the window around the dock is closed; they start again when needed."""
        if event.type() == QEvent.Type.Hide and not event.spontaneous() and not self._closed:
            self.controller.rest()
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """End the threads when shown as a window of its own."""
        self.shutdown()
        super().closeEvent(event)
