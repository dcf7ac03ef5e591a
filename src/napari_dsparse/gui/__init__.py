"""napari and Qt: the only room of the house that knows either.

A brush stroke walks through it like this::

    Labels layer -> paint_watch -> controller -> trainer_thread (strokes, steps, snapshots)
                 -> controller -> predictor_thread (tiles) -> controller -> result_layers
"""

import os

# In a window, cores are shared with drawing and with the user's other programs. OpenMP's threads by default
# spin while they wait for each other, and a training step then takes many times as long as it should. Read
# once, when torch is first loaded; who has set it keeps their setting.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
