"""napari's layers and view, translated for the engine."""
