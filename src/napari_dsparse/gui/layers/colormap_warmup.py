"""Compile what napari colours labels with before the first labels layer needs it.

napari maps labels to colours by functions that numba compiles at their first use. That takes seconds, in
which the window would stand still, at the first strokes or the first result.
"""

from __future__ import annotations

import threading
from functools import cache

import numpy as np

from napari_dsparse.classifier.classes import default_classes
from napari_dsparse.gui.layers.class_look import class_colormap


@cache
def warm_up_colormaps() -> threading.Thread:
    """Compile in a thread of its own, once per process; a labels layer is made once that thread has ended."""
    thread = threading.Thread(target=_compile, name="colormaps")
    thread.start()
    return thread


def _compile() -> None:
    # Only the table from labels to colours, which takes longest: the loop over pixels runs in numba's own
    # threads, which two threads at a time may not use everywhere.
    compile_table = getattr(class_colormap(default_classes(2)), "_get_typed_dict_mapping", None)
    if compile_table is not None:
        compile_table(np.dtype(np.uint8))
