"""Lines of progress: the image that is segmented, its rate, and the time left for it and for all images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from napari_dsparse.cli.inputs import InputImage
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
        self._started = time.monotonic()

    def of(self, image: InputImage, number: int = 0) -> Callable[[float], None]:
        """A function of the share that is done of image `number`, counted from 0, which shows it."""
        megapixels = math.prod(image.source.shape) / 1e6
        place = f"{number + 1} of {self._images}, " if self._images > 1 else ""
        first: tuple[float, float] | None = None

        def show(share: float) -> None:
            nonlocal first
            now = time.monotonic()
            line = f"Segmenting {place}{image.source.name}: {int(100 * share)} %"
            if first is None:
                first = now, share
            elif share > first[1] and now > first[0]:
                rate = (share - first[1]) / (now - first[0])
                line += f", {megapixels * rate:.2f} MP/s, {_duration((1 - share) / rate)} left"
            done = (number + share) / self._images
            if number:  # one image tells little of the others
                line += f"; {_duration((now - self._started) * (1 - done) / done)} left for all"
            self._report.progress(line, done)

        return show


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
