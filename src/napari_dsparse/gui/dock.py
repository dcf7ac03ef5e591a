"""The dock widget: draws a state and passes on what the user does."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QDockWidget, QScrollArea, QVBoxLayout, QWidget

from napari_dsparse.gui import predecessor
from napari_dsparse.gui.batch_desk import BatchDesk
from napari_dsparse.gui.class_actions import ClassActions
from napari_dsparse.gui.class_copying import ClassCopying
from napari_dsparse.gui.combine_desk import CombineDesk
from napari_dsparse.gui.controller import Controller
from napari_dsparse.gui.dock_title import DockTitle
from napari_dsparse.gui.export_desk import ExportDesk
from napari_dsparse.gui.file_desk import FileDesk
from napari_dsparse.gui.layers.colormap_warmup import warm_up_colormaps
from napari_dsparse.gui.layers.image_frame import ChannelChoice, channel_choices
from napari_dsparse.gui.layers.last_visuals import LastVisuals
from napari_dsparse.gui.layers.layer_choice import images_of, likely_strokes, strokes_of
from napari_dsparse.gui.numbered_layers import NumberedLayers
from napari_dsparse.gui.objects_desk import ObjectsDesk
from napari_dsparse.gui.other_strokes import OtherStrokes
from napari_dsparse.gui.overlay_desk import OverlayDesk
from napari_dsparse.gui.project_desk import ProjectDesk
from napari_dsparse.gui.settings_desk import SettingsDesk
from napari_dsparse.gui.study_desk import StudyDesk
from napari_dsparse.gui.unsaved_desk import UnsavedDesk
from napari_dsparse.gui.widgets.panel import Panel
from napari_dsparse.gui.widgets.plain import plain
from napari_dsparse.live import events as ev
from napari_dsparse.live.expected_iou import NOT_AFTER_STEPS, NOTHING_YET, WHAT_IT_IS
from napari_dsparse.live.sentences import describe, describe_model, is_uncounted, progress_text
from napari_dsparse.live.state import LiveState, Training

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels


@dataclass(frozen=True, slots=True)
class _Choice:
    """The user's choices for an image: the axis of its channels, and the layer of strokes."""

    axis: int | None
    strokes: weakref.ref[Labels] | None


class SegmentationDock(QWidget):
    """Paint a few strokes, get the whole image segmented.

    Parameters
    ----------
    napari_viewer : Viewer
        napari passes it in, by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        warm_up_colormaps()
        self.viewer = napari_viewer
        self._closed = False
        self._docked = False
        self._choices: tuple[ChannelChoice, ...] = ()
        self._shown = LiveState()
        self._in_table: tuple[Any, ...] = ()
        self.remembered: WeakKeyDictionary[Image, _Choice] = WeakKeyDictionary()
        self.controller = Controller(napari_viewer)
        self.panel = Panel()
        self.combining = CombineDesk(self)
        self._numbered = NumberedLayers(napari_viewer, self.panel)

        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        self.setMinimumWidth(264)

        self.study = StudyDesk(self)
        self.projects = ProjectDesk(self, self.study.study, self.study.pick)
        self.study.missing_picked.connect(self.projects.ask_for_missing)
        self.overlay = OverlayDesk(self)
        self.unsaved = UnsavedDesk(self, self.study.study, self.projects)
        self._other_strokes = OtherStrokes(self)
        self.objects = ObjectsDesk(self)
        self.files = FileDesk(self)
        self.exports = ExportDesk(self)
        self.batch = BatchDesk(self, self.study.study)
        self._connect()
        self._settings = SettingsDesk(self)
        self._last_visuals = LastVisuals(self, self.viewer)
        self.controller.changed.connect(self._render)
        self.viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        self._render(self.controller.state)
        predecessor.take_up(self)
        self.reset_choices()

    # -- layers ---------------------------------------------------------------------------------------------

    def reset_choices(self, event: Any = None) -> None:
        """Offer the present layers; napari calls this whenever they change."""
        if self._closed:
            return
        panel = self.panel
        images = images_of(self.viewer)
        before = panel.image_combo.layer
        image = before if any(one is before for one in images) else None
        if image is None and images:
            active = self.viewer.layers.selection.active
            image = next((one for one in images if active is not None and one == active), images[-1])
        panel.image_combo.offer([(one.name, one) for one in images], image)
        if image is not before:
            self._choose_image(image)
            if before is not None:  # whose layer was removed
                self.study.open_front_soon()
        else:
            self._offer_strokes()
        panel.show_channels(len(self._choices) > 1, self.combining.possible)

    def _choose_image(self, image: Image | None) -> None:
        self._choices = () if image is None else channel_choices(image)
        before = None if image is None else self.remembered.get(image)
        axes = [choice.axis for choice in self._choices]
        combo = self.panel.channels_combo
        combo.blockSignals(True)
        combo.clear()
        combo.addItems([choice.text for choice in self._choices])
        if before is not None and before.axis in axes:
            combo.setCurrentIndex(axes.index(before.axis))
        combo.blockSignals(False)
        self._choose_channels()

    def _choose_channels(self) -> None:
        index = self.panel.channels_combo.currentIndex()
        choice = self._choices[index] if 0 <= index < len(self._choices) else None
        image = self.panel.image_combo.layer
        self.controller.choose_image(image, choice)
        self.panel.curves.clear_curves()
        self._offer_strokes(anew=True)
        self._remember()

    def _offer_strokes(self, *, anew: bool = False) -> None:
        combo, frame, image = self.panel.labels_combo, self.controller.frame, self.panel.image_combo.layer
        layers = strokes_of(self.viewer)
        wanted = self._remembered_strokes() if anew else combo.layer
        chosen = wanted if any(one is wanted for one in layers) else None
        if chosen is None and frame is not None and image is not None and not self.controller.state.studied:
            # (an image of the list has strokes of its own: another layer must be chosen by hand)
            chosen = likely_strokes([one for one in layers if not self._of_others(one)], frame, image)
        combo.offer([(one.name, one) for one in layers], chosen)
        self.controller.choose_strokes(chosen)

    def show_image(self, layer: Image, axis: int | None, strokes: Labels | None) -> None:
        """Bring a layer of the viewer to the front, read with that channel axis, with these strokes."""
        self.remembered[layer] = _Choice(axis, None if strokes is None else weakref.ref(strokes))
        self.panel.image_combo.offer([(one.name, one) for one in images_of(self.viewer)], layer)
        self._on_image_picked()

    def choice_for(self, layer: Image) -> ChannelChoice | None:
        """Reading of the axes that the user chose for a layer that was in front before."""
        before = self.remembered.get(layer)
        choices = channel_choices(layer)
        return None if before is None else next((one for one in choices if one.axis == before.axis), None)

    def strokes_remembered(self, layer: Image) -> Labels | None:
        """The strokes that were chosen for a layer when it was in front."""
        before = self.remembered.get(layer)
        return None if before is None or before.strokes is None else before.strokes()

    def _of_others(self, strokes: Labels) -> bool:
        """True if these strokes were painted on another image than the one in front."""
        image = self.panel.image_combo.layer
        return any(
            choice.strokes is not None and choice.strokes() is strokes
            for other, choice in self.remembered.items()
            if other is not image
        )

    def _remembered_strokes(self) -> Labels | None:
        image = self.panel.image_combo.layer
        return None if image is None else self.strokes_remembered(image)

    def _remember(self) -> None:
        """Record the image's channel axis and strokes layer, for when it is chosen again."""
        image, index = self.panel.image_combo.layer, self.panel.channels_combo.currentIndex()
        if image is not None and 0 <= index < len(self._choices):
            strokes = self.controller.strokes.layer
            self.remembered[image] = _Choice(
                self._choices[index].axis, None if strokes is None else weakref.ref(strokes)
            )

    def _on_new_pressed(self) -> None:
        self.new_strokes(self.study.kept_strokes())  # of an image of the list nothing painted is lost

    def new_strokes(self, labels: Any = None) -> None:
        """Make a strokes layer for the image in front, with `labels` painted on it already."""
        layer = self.controller.new_strokes(labels)
        if layer is None:
            return
        layers = strokes_of(self.viewer)
        self.panel.labels_combo.offer([(one.name, one) for one in layers], layer)
        self._remember()

    # -- user actions ---------------------------------------------------------------------------------------

    def _connect(self) -> None:
        panel, controller, send = self.panel, self.controller, self.controller.send
        panel.image_combo.currentIndexChanged.connect(self._on_image_picked)
        panel.channels_combo.currentIndexChanged.connect(self._choose_channels)
        panel.labels_combo.currentIndexChanged.connect(self._on_strokes_picked)
        panel.new_labels_button.clicked.connect(self._on_new_pressed)
        controller.strokes_missing.connect(self._on_new_pressed)
        panel.class_table.edited.connect(controller.editor.change)
        self.class_actions = ClassActions(panel, controller, self)
        self._class_copying = ClassCopying(self)
        panel.class_table.picked.connect(self._on_class_picked)
        panel.add_class_button.clicked.connect(controller.add_class)
        panel.live_check.toggled.connect(lambda live: send(ev.LiveSwitched(live)))
        panel.train_button.clicked.connect(lambda: send(ev.TrainPressed()))
        panel.pause_button.toggled.connect(lambda paused: send(ev.PausePressed(paused)))
        panel.stop_button.clicked.connect(lambda: send(ev.StopPressed()))
        panel.predict_button.clicked.connect(lambda: send(ev.WholePressed()))
        panel.cancel_button.clicked.connect(lambda: send(ev.CancelPressed()))
        for check in (panel.uncertainty_check, panel.probabilities_check):
            check.toggled.connect(self._on_maps)
        panel.exposure_check.toggled.connect(lambda matched: send(ev.ExposureMatched(matched)))
        panel.depth_check.toggled.connect(lambda on: send(ev.DepthChosen("neighbours" if on else "off")))
        panel.next_spot_button.clicked.connect(lambda: send(ev.NextSpotPressed()))
        panel.reset_button.clicked.connect(self._reset)
        panel.device_combo.currentTextChanged.connect(lambda name: send(ev.DeviceChosen(name)))

    def _on_class_picked(self, number: int) -> None:
        self.controller.strokes.pick_class(number)
        self.panel.class_table.show_brush(self.controller.state.brush)  # also where it could not be picked

    def _on_maps(self) -> None:
        panel = self.panel
        self.controller.send(
            ev.MapsWanted(panel.uncertainty_check.isChecked(), panel.probabilities_check.isChecked())
        )

    def _reset(self) -> None:
        self.controller.send(ev.ResetPressed())
        self.panel.curves.clear_curves()

    def _on_image_picked(self) -> None:
        self._choose_image(self.panel.image_combo.layer)
        self.panel.show_channels(len(self._choices) > 1, self.combining.possible)

    def _on_strokes_picked(self) -> None:
        chosen, present = self.panel.labels_combo.layer, self.controller.strokes.layer
        frame, picked = self.controller.frame, chosen
        if chosen is not None and frame is not None and self._numbered.doubts(chosen, frame):
            self._offer(present)  # while it is not clear, the choice is as before
            chosen = self._numbered.ask(chosen, frame, self.controller.state.classes) or present
            self._offer(chosen)
        if chosen is not None and chosen is not present:
            self._offer(present)
            chosen = self._other_strokes.settle(chosen, made=chosen is not picked) or present
            self._offer(chosen)
        self.controller.choose_strokes(chosen)
        self._remember()

    def _offer(self, chosen: Labels | None) -> None:
        self.panel.labels_combo.offer([(one.name, one) for one in strokes_of(self.viewer)], chosen)

    # -- drawing --------------------------------------------------------------------------------------------

    def _render(self, state: LiveState) -> None:
        before, self._shown = self._shown, state
        panel = self.panel
        tip = WHAT_IT_IS if state.expected else ""
        panel.status_label.say(describe(state), tip=tip, failed=state.problem is not None)
        counts = None if is_uncounted(state) else state.counts
        shown = (state.classes, counts, state.brush, state.expected)
        if shown != self._in_table:
            self._in_table = shown
            panel.class_table.show_classes(*shown)
            panel.curves.set_classes(state.classes)
            panel.confusion_table.show_classes(state.classes)
        if state.progress is not None and state.progress is not before.progress:
            panel.curves.add(state.progress)
        elif state.progress is None and before.progress is not None:
            panel.curves.clear_curves()
        stepped = state.progress is not None and state.progress.step > 0
        panel.confusion_table.show_progress(
            state.judged if state.expected else None, instead=NOT_AFTER_STEPS if stepped else NOTHING_YET
        )
        if state.whole != before.whole:
            panel.show_progress(state.whole.fraction if state.whole else None)
            panel.progress_bar.setFormat(progress_text(state.whole) if state.whole else "")
        panel.model_label.setText(describe_model(state))
        panel.model_label.setToolTip(plain(describe_model(state)))
        panel.show_depth(state.has_depth, state.depth)
        panel.show_exposure(state.match_exposure or state.exposure_fixed, state.exposure_fixed)
        self._enable(state)

    def _enable(self, state: LiveState) -> None:
        panel = self.panel
        has_image, has_strokes = state.image is not None, state.strokes is not None
        panel.new_labels_button.setEnabled(has_image)
        panel.invite(panel.new_labels_button, has_image and not has_strokes and not state.has_model)
        panel.class_table.setEnabled(has_strokes or state.has_model)
        panel.add_class_button.setEnabled(has_strokes)
        self.class_actions.enable(state)
        panel.train_button.setEnabled(has_strokes and state.painted_classes >= 2)
        panel.pause_button.setEnabled(state.stepping)
        panel.pause_button.blockSignals(True)
        panel.pause_button.setChecked(state.training is Training.PAUSED)
        panel.pause_button.blockSignals(False)
        panel.stop_button.setEnabled(state.busy)
        ready = has_image and state.has_model
        panel.predict_button.setEnabled(ready and state.whole is None and not state.writing)
        panel.export_button.setEnabled(ready and state.whole is None and not state.writing)
        panel.save_model_button.setEnabled(state.model is not None and not state.writing)
        panel.load_model_button.setEnabled(not state.writing)
        panel.reset_button.setEnabled(state.model is not None or state.learning)
        panel.next_spot_button.setEnabled(ready)

    def _on_theme(self, event: Any = None) -> None:
        from napari.utils.theme import get_theme

        color = get_theme(self.viewer.theme).text.as_hex()
        self.panel.set_foreground(color)
        self.batch.set_foreground(color)

    # -- end ------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End the threads and disconnect from the viewer; called once, however the dock is closed."""
        if self._closed:
            return
        self._closed = True
        self.projects.finish()
        left = predecessor.leave(self)
        self.batch.shutdown()
        self.exports.shutdown()
        self.controller.changed.disconnect(self._render)
        self.viewer.events.theme.disconnect(self._on_theme)
        for part in (self.overlay, self._settings, self.objects, self.controller):
            part.shutdown()
        for desk in (self.unsaved, self.study, self.projects):  # what was painted last has been passed on
            desk.shutdown()
        left.keep(self)

    def event(self, event: QEvent) -> bool:
        """Handle deletion: napari deletes the widget of a closed dock without a close event."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
                if isinstance(around := self.parent(), QDockWidget):
                    self._title = DockTitle(around)
            elif self._docked:
                self.shutdown()
        return bool(super().event(event))

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The least width that fits, which leaves the most to the image."""
        return QSize(320, 720)

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Watch for the close event of the main window, which sends none to its docks."""
        window = self.window()
        if isinstance(window, QDockWidget):  # a floating panel is hidden when it is docked again
            window = window.parentWidget() or window
        window.removeEventFilter(self)
        window.installEventFilter(self)
        super().showEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Let the threads end when the window around the dock is closed; they start again when needed."""
        visible = isinstance(watched, QWidget) and watched.isVisible()
        closing = event.type() == QEvent.Type.Close and not self._closed and visible
        if closing and not self.unsaved.may_close():
            event.ignore()
            return True
        if event.type() == QEvent.Type.Hide and not event.spontaneous() and not self._closed:
            self.controller.rest()
            self.projects.save_now()
            self.unsaved.on_hidden()
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """End the threads when shown as a window of its own."""
        self.shutdown()
        super().closeEvent(event)
