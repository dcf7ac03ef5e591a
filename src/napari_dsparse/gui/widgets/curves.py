"""Two small plots: expected IoU of every class, and the loss while gradient steps are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyqtgraph as pg
from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QWidget

from napari_dsparse.classifier.classes import ClassInfo
from napari_dsparse.live.expected_iou import NOTHING_YET, WHAT_IT_IS
from napari_dsparse.training.progress import TrainingProgress

#: Opacity of a class's band, 0..255.
BAND_ALPHA = 50
#: Pixels for the numbers of the vertical axes, as of a loss of 0.0025; what does not fit is not drawn.
AXIS_WIDTHS = (40, 28)
#: Points kept per curve; older ones are thinned out.
MOST_POINTS = 600


class LearningCurves(pg.GraphicsLayoutWidget):
    """Expected IoU by number of strokes; to its left the loss by step, once there are steps.

    Of each class, the line is the middle of its range and the band the range.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.ci.setContentsMargins(0, 0, 0, 0)
        self.ci.setSpacing(2)
        self.setBackground(None)
        self.setCacheMode(self.CacheModeFlag.CacheNone)  # a cached background outlives the theme
        self.setFixedHeight(112)
        self._foreground = "#808080"
        self._colors: tuple[str, ...] = ()
        self._loss = self._plot(0, "Loss by step")
        self._iou = self._plot(1, "Expected IoU by strokes")
        self._iou.setYRange(0, 1, padding=0.02)
        self._loss.setLimits(yMin=0)
        self._loss_curve = self._loss.plot()
        self._iou_curves: dict[int, _RangeCurve] = {}
        self._hint = pg.TextItem(NOTHING_YET, anchor=(0.5, 0.5))
        self._hint.setFont(self._small_font())
        self._hint.setPos(0.5, 0.5)
        self._iou.addItem(self._hint, ignoreBounds=True)
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._ious: dict[int, dict[int, tuple[float, float, float]]] = {}
        self.setToolTip(WHAT_IT_IS)
        self.set_foreground(self._foreground)

    @property
    def loss_points(self) -> tuple[list[int], list[float]]:
        """Steps and losses that are drawn."""
        return list(self._steps), list(self._losses)

    @property
    def shows_loss(self) -> bool:
        """True if the loss is drawn beside the IoU."""
        return bool(self._loss.isVisible())

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
        """Add a point; a new fit, which is step 0, hides the loss."""
        if self._steps and progress.step < self._steps[-1]:
            self._steps, self._losses = [], []
        if progress.step > (self._steps[-1] if self._steps else 0):
            self._steps.append(progress.step)
            self._losses.append(progress.loss)
        for number, (low, high) in progress.held_out_range.items():
            middle = progress.held_out_iou.get(number, (low + high) / 2)
            self._ious.setdefault(number, {})[progress.strokes] = low, middle, high
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
                curve.remove()
            self._iou_curves.clear()
            self._draw()

    def set_foreground(self, color: str) -> None:
        """Colour of axes, titles and the loss curve, to suit the theme."""
        self._foreground = color
        pen = pg.mkPen(color)
        for plot, title in ((self._loss, "Loss by step"), (self._iou, "Expected IoU by strokes")):
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
        self._loss.setVisible(bool(self._steps))
        self._hint.setVisible(not self._ious)
        self._loss_curve.setData(self._steps, self._losses)
        for number, by_strokes in self._ious.items():
            if number not in self._iou_curves:
                known = number <= len(self._colors)
                color = QColor(self._colors[number - 1] if known else self._foreground)
                self._iou_curves[number] = _RangeCurve(self._iou, color)
            self._iou_curves[number].show(by_strokes)
        most = max((strokes for by_strokes in self._ious.values() for strokes in by_strokes), default=3)
        self._iou.setXRange(0, most + 1, padding=0)
        self._hint.setPos((most + 1) / 2, 0.5)
        for number in set(self._iou_curves) - set(self._ious):
            self._iou_curves[number].show({})

    def wheelEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        """Pass the wheel to the dock's scroll area: the curves do not zoom."""
        event.ignore()  # type: ignore[attr-defined]


class _RangeCurve:
    """A line through the middle of ranges, and a band as wide as they are."""

    def __init__(self, plot: pg.PlotItem, color: QColor) -> None:
        self._plot = plot
        self._low, self._high = pg.PlotDataItem(), pg.PlotDataItem()
        shade = QColor(color)
        shade.setAlpha(BAND_ALPHA)
        self._band = pg.FillBetweenItem(self._low, self._high, brush=shade)
        self._middle = pg.PlotDataItem(
            pen=pg.mkPen(color, width=1.5), symbol="o", symbolSize=4, symbolPen=None, symbolBrush=color
        )
        for item in (self._band, self._middle):
            plot.addItem(item)

    def show(self, by_strokes: Mapping[int, tuple[float, float, float]]) -> None:
        """Draw (low, middle, high) by number of strokes."""
        strokes = sorted(by_strokes)
        for place, item in enumerate((self._low, self._middle, self._high)):
            item.setData(strokes, [by_strokes[number][place] for number in strokes])

    def remove(self) -> None:
        """Take the curve off its plot."""
        for item in (self._band, self._middle):
            self._plot.removeItem(item)
