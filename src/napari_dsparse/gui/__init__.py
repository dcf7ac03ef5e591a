"""napari and Qt: the only room of the house that knows either.

A brush stroke walks through it like this::

    Labels layer -> layers.paint_watch -> controller -> live.loop (trainer, predictor)
                 -> controller -> layers.result_layers
"""

import napari_dsparse.live  # noqa: F401 (says how torch's threads wait, before anything here loads torch)
