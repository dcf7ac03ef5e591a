"""A combo box of layers: shows names, gives layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QComboBox, QWidget

from napari_dsparse.gui.layers.viewer import unwrapped
from napari_dsparse.gui.widgets.plain import plain

T = TypeVar("T")


class LayerCombo(QComboBox, Generic[T]):
    """Chooses one of some layers.

    Parameters
    ----------
    placeholder : str
        Shown while none is chosen.
    parent : QWidget
    """

    def __init__(self, placeholder: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: list[T] = []
        self.setPlaceholderText(placeholder)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Long layer names are cut off rather than widen the dock."""
        return QSize(80, super().minimumSizeHint().height())

    @property
    def layer(self) -> T | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def offer(self, layers: Sequence[tuple[str, T]], chosen: T | None) -> None:
        """Offer these named layers, with `chosen` selected; emits nothing."""
        self.blockSignals(True)
        self.clear()
        self._layers = [unwrapped(layer) for _, layer in layers]
        self.addItems([name for name, _ in layers])
        self.setCurrentIndex(next((i for i, one in enumerate(self._layers) if one is chosen), -1))
        self.setToolTip(plain(self.currentText()))
        self.blockSignals(False)
