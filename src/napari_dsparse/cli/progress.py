"""Lines of progress: the image that is segmented, its rate, and the time left for it and for all images."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from napari_dsparse.batch.inputs import InputImage
from napari_dsparse.batch.pace import Stopwatch, duration
from napari_dsparse.cli.report import Report


class Progress:
    """Shows the share that is done of one image after another.

    Parameters
    ----------
    report : Report
    images : int
        Number of images in all.
    """

    def __init__(self, report: Report, images: int = 1) -> None:
        self._report = report
        self._images = images
        self._watch = Stopwatch(images, time.monotonic())

    def of(self, image: InputImage, number: int = 0) -> Callable[[float], None]:
        """A function of the share that is done of image `number`, counted from 0, which shows it."""
        self._watch.begin(number, math.prod(image.source.shape) / 1e6)
        place = f"{number + 1} of {self._images}, " if self._images > 1 else ""

        def show(share: float) -> None:
            pace = self._watch.at(time.monotonic(), share)
            line = f"Segmenting {place}{image.source.name}: {int(100 * share)} %"
            if pace.megapixels_per_second is not None and pace.seconds_left is not None:
                line += f", {pace.megapixels_per_second:.2f} MP/s, {duration(pace.seconds_left)} left"
            if pace.seconds_left_of_all is not None:
                line += f"; {duration(pace.seconds_left_of_all)} left for all"
            self._report.progress(line, pace.of_all)

        return show


class ProgressOfSeveral:
    """Shows the share that is done of all images, of which several are under way; any thread may tell it.

    Parameters
    ----------
    report : Report
    images : int
        Number of images in all.
    """

    def __init__(self, report: Report, images: int) -> None:
        self._report, self._images = report, images
        self._watch = Stopwatch(images, time.monotonic())
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def of(self, image: InputImage, number: int = 0) -> Callable[[float], None]:
        """A function of the share that is done of image `number`, counted from 0, which shows it."""

        def show(share: float) -> None:
            with self._lock:
                self._shares[number] = share
                done = int(sum(self._shares.values()))
                self._watch.begin(done, 0.0)
                pace = self._watch.at(time.monotonic(), sum(self._shares.values()) - done)
                line = f"Segmenting {len(self._shares) - done} at a time: {done} of {self._images} done"
                if pace.seconds_left_of_all is not None:
                    line += f"; {duration(pace.seconds_left_of_all)} left for all"
                self._report.progress(line, pace.of_all)

        return show
