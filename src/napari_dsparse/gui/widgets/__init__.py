"""Qt widgets of the dock; they know nothing of napari or the threads."""
