"""napari, opened with the result of the command-line demo."""

from __future__ import annotations

from pathlib import Path


def show_demo(sample: str, model: Path) -> None:
    """Open a bundled image with its strokes and the dock, the model loaded, until it is closed.

    Parameters
    ----------
    sample : str
        Name of a bundled sample.
    model : Path
        File of the model learned from its strokes.
    """
    import napari

    viewer = napari.Viewer()
    viewer.open_sample("napari-dsparse", sample)
    _, dock = viewer.window.add_plugin_dock_widget("napari-dsparse", "Sparse-label segmentation")
    dock.controller.load_model(model)
    napari.run()
