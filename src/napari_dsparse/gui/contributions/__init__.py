"""Contributions to napari's menus: sample data, a writer, and a form for each step."""
