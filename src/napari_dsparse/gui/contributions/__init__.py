"""What napari offers in its menus on our behalf: sample data and a writer."""
