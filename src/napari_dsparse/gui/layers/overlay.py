"""The look of the results over the image: opacity, a background left out, hidden for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.gui.layers.class_look import show_classes

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

#: Opacity of a segmentation at first.
SEGMENTATION_OPACITY = 0.4


class Overlay(QObject):
    """One look for the segmentations of all images, whatever layers they come in.

    Parameters
    ----------
    parent : QObject
    """

    #: The opacity was set elsewhere, as in napari's layer controls.
    opacity_changed = Signal(float)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.opacity = SEGMENTATION_OPACITY
        self.background_hidden = False
        self._segmentation: Labels | None = None
        self._classes: tuple[ClassInfo, ...] = ()
        self._over: list[Layer] = []
        self._held: dict[Layer, float] | None = None

    def take(self, layer: Labels) -> None:
        """Give a segmentation this look from now on, and no other."""
        self._let_segmentation_go()
        self._segmentation = layer
        layer.opacity = self.opacity
        layer.events.opacity.connect(self._on_opacity)
        self.cover(layer)

    def cover(self, layer: Layer) -> None:
        """Count `layer` among those that lie over the image."""
        if layer not in self._over:
            self._over.append(layer)
            if self._held is not None:
                self._hide(layer)

    def leave(self, layer: Layer) -> None:
        """Change nothing of `layer` any more."""
        if layer in self._over:
            self._over.remove(layer)
            if self._held is not None and layer in self._held:
                layer.opacity = self._held.pop(layer)
        if layer is self._segmentation:
            self._let_segmentation_go()

    def clear(self) -> None:
        """Change nothing of any layer any more."""
        self.hold(False)
        for layer in self._over[:]:
            self.leave(layer)

    def set_opacity(self, opacity: float) -> None:
        """Show the segmentation with this opacity, 0 to 1."""
        self.opacity = opacity
        if self._segmentation is None:
            return
        if self._held is not None:
            self._held[self._segmentation] = opacity
        elif self._segmentation.opacity != opacity:
            self._segmentation.opacity = opacity

    def hide_background(self, hidden: bool) -> None:
        """Leave the first class out of what is shown; the labels stay as they are."""
        self.background_hidden = hidden
        self.show_classes(self._classes)

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Show names and colours of classes on the segmentation."""
        self._classes = tuple(classes)
        if self._segmentation is not None and classes:
            show_classes(self._segmentation, classes, hidden=(1,) if self.background_hidden else ())

    def hold(self, held: bool, others: Sequence[Layer] = ()) -> None:
        """Show the bare image while `held`, under the strokes; `others` are hidden with what lies over it."""
        if held and self._held is None:
            self._held = {}
            for layer in (*self._over, *others):
                self._hide(layer)
        elif not held and self._held is not None:
            before, self._held = self._held, None
            for layer, opacity in before.items():
                layer.opacity = opacity

    def _hide(self, layer: Layer) -> None:
        """Make a layer see-through; `visible` would slice it anew, and take its tool out of the hand."""
        if self._held is not None:
            self._held[layer] = layer.opacity
            layer.opacity = 0.0

    def _on_opacity(self, event: Any = None) -> None:
        layer = self._segmentation
        if layer is not None and self._held is None and layer.opacity != self.opacity:
            self.opacity = float(layer.opacity)
            self.opacity_changed.emit(self.opacity)

    def _let_segmentation_go(self) -> None:
        layer, self._segmentation = self._segmentation, None
        if layer is not None:
            layer.events.opacity.disconnect(self._on_opacity)
            self.leave(layer)
