"""napari and Qt: the only room of the house that knows either.

A brush stroke walks through it like this::

    Labels layer -> paint_watch -> controller -> trainer_thread (strokes, steps, snapshots)
                 -> controller -> predictor_thread (tiles) -> controller -> result_layers
"""
