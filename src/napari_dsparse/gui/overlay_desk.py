"""The dock's controls of the overlay: opacity, a hidden background, and the key that hides it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dsparse.gui.layers.hold_key import HoldKey
from napari_dsparse.gui.layers.marks import our_role
from napari_dsparse.gui.layers.objects_layer import OBJECTS, PREVIEW
from napari_dsparse.gui.layers.viewer import unwrapped

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock


class OverlayDesk(QObject):
    """Connects the controls of the overlay with the layers.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        super().__init__(dock)
        self._panel, self._overlay = dock.panel, dock.controller.overlay
        self._key = HoldKey(dock.viewer, self)
        self._viewer = dock.viewer
        self._key.held.connect(self._on_held)
        self._show_opacity(self._overlay.opacity)
        self._overlay.opacity_changed.connect(self._show_opacity)
        self._panel.overlay_opacity.valueChanged.connect(self._on_slider)
        self._panel.hide_background_check.toggled.connect(self._overlay.hide_background)
        self._panel.hold_label.setText("" if self._key.key is None else f"hold {self._key.key} to hide")

    def shutdown(self) -> None:
        """Give the key back."""
        self._key.free()

    def _on_held(self, held: bool) -> None:
        layers = map(unwrapped, self._viewer.layers)
        self._overlay.hold(held, [each for each in layers if our_role(each) in (OBJECTS, PREVIEW)])

    def _on_slider(self, percent: int) -> None:
        self._overlay.set_opacity(percent / 100)

    def _show_opacity(self, opacity: float) -> None:
        slider = self._panel.overlay_opacity
        slider.blockSignals(True)
        slider.setValue(round(100 * opacity))
        slider.blockSignals(False)
