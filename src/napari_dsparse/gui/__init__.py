"""The only subpackage that imports napari or Qt.

Path of a brush stroke::

    Labels layer -> layers.paint_watch -> controller -> live.loop (trainer, predictor)
                 -> controller -> layers.result_layers
"""

import napari_dsparse.live  # noqa: F401 (says how torch's threads wait, before anything here loads torch)
