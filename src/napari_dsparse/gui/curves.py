"""Two small curves that move while the model learns: loss, and held-out IoU of every class."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph as pg
from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QWidget

from napari_dsparse.network.trained import ClassInfo
from napari_dsparse.training.progress import TrainingProgress
from napari_dsparse.training.validation import FEWEST_STROKES

#: What stands in place of the IoU curves while nothing can be held out.
HINT = f"{FEWEST_STROKES} strokes each\nin 2 classes"
#: Pixels for the numbers of the vertical axes, as of a loss of 0.0025; what does not fit is not drawn.
AXIS_WIDTHS = (40, 28)
#: Points a curve keeps; older ones are thinned out.
MOST_POINTS = 600


class LearningCurves(pg.GraphicsLayoutWidget):
    """Loss by step on the left, held-out IoU by number of strokes on the right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.ci.setContentsMargins(0, 0, 0, 0)
        self.ci.setSpacing(2)
        self.setBackground(None)
        self.setFixedHeight(112)
        self._foreground = "#808080"
        self._colors: tuple[str, ...] = ()
        self._loss = self._plot(0, "Loss by step")
        self._iou = self._plot(1, "Held-out IoU by strokes")
        self._iou.setYRange(0, 1, padding=0.02)
        self._loss.setLimits(yMin=0)
        self._loss_curve = self._loss.plot()
        self._iou_curves: dict[int, pg.PlotDataItem] = {}
        self._hint = pg.TextItem(HINT, anchor=(0.5, 0.5))
        self._hint.setFont(self._small_font())
        self._hint.setPos(0.5, 0.5)
        self._iou.addItem(self._hint, ignoreBounds=True)
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._ious: dict[int, dict[int, float]] = {}
        self.set_foreground(self._foreground)

    @property
    def loss_points(self) -> tuple[list[int], list[float]]:
        """Steps and losses that are drawn."""
        return list(self._steps), list(self._losses)

    @property
    def foreground(self) -> str:
        """Colour of axes and titles."""
        return self._foreground

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Narrow enough for the narrowest dock."""
        return QSize(200, 112)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """As wide as the dock."""
        return QSize(300, 112)

    def add(self, progress: TrainingProgress) -> None:
        """Draw one more point; a step that lies before the last starts the loss anew."""
        if self._steps and progress.step < self._steps[-1]:
            self._steps, self._losses = [], []
        if progress.step > (self._steps[-1] if self._steps else 0):
            self._steps.append(progress.step)
            self._losses.append(progress.loss)
        for number, iou in progress.held_out_iou.items():
            self._ious.setdefault(number, {})[progress.strokes] = iou
        if len(self._steps) > MOST_POINTS:
            self._steps, self._losses = self._steps[::2], self._losses[::2]
        self._draw()

    def clear_curves(self) -> None:
        """Forget every point."""
        self._steps, self._losses, self._ious = [], [], {}
        self._draw()

    def set_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Draw the IoU of every class in its colour."""
        colors = tuple(info.color for info in classes)
        if colors != self._colors:
            self._colors = colors
            for curve in self._iou_curves.values():
                self._iou.removeItem(curve)
            self._iou_curves.clear()
            self._draw()

    def set_foreground(self, color: str) -> None:
        """Colour of axes, titles and the loss curve, to suit the theme."""
        self._foreground = color
        pen = pg.mkPen(color)
        for plot, title in ((self._loss, "Loss by step"), (self._iou, "Held-out IoU by strokes")):
            plot.setTitle(title, color=color, size="8pt")
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(pen)
                axis.setTextPen(pen)
        self._hint.setColor(color)
        self._loss_curve.setPen(pg.mkPen(color, width=1.5))

    def _plot(self, column: int, title: str) -> pg.PlotItem:
        plot = self.addPlot(row=0, col=column, title=title)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(False, False)
        plot.hideButtons()
        plot.getAxis("left").setWidth(AXIS_WIDTHS[column])
        plot.getAxis("bottom").setHeight(16)
        for side in ("left", "bottom"):
            plot.getAxis(side).setStyle(tickFont=self._small_font(), maxTickLevel=0, tickLength=-4)
        return plot

    def _small_font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSize(7)
        return font

    def _draw(self) -> None:
        self._hint.setVisible(not self._ious)
        self._loss_curve.setData(self._steps, self._losses)
        for number, by_strokes in self._ious.items():
            if number not in self._iou_curves:
                known = number <= len(self._colors)
                pen = pg.mkPen(QColor(self._colors[number - 1] if known else self._foreground), width=1.5)
                color = pen.color()
                self._iou_curves[number] = self._iou.plot(
                    pen=pen, symbol="o", symbolSize=4, symbolPen=None, symbolBrush=color
                )
            points = sorted(by_strokes.items())
            self._iou_curves[number].setData([p[0] for p in points], [p[1] for p in points])
        most = max((strokes for by_strokes in self._ious.values() for strokes in by_strokes), default=3)
        self._iou.setXRange(0, most + 1, padding=0)
        self._hint.setPos((most + 1) / 2, 0.5)
        for number in set(self._iou_curves) - set(self._ious):
            self._iou_curves[number].setData([], [])

    def wheelEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        """Leave the wheel to the dock's scroll area: the curves do not zoom."""
        event.ignore()  # type: ignore[attr-defined]
