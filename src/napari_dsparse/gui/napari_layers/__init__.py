"""What the window has to know of napari: its layers, its view, and what they mean to the engine."""
