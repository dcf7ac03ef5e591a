"""Commands of napari's menus and command palette: they press the buttons of the dock, opened if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from napari.viewer import Viewer  # napari finds the viewer to pass by this annotation
from qtpy.QtWidgets import QPushButton

from napari_dsparse.gui.settings import PLUGIN

if TYPE_CHECKING:
    from napari_dsparse.gui.dock import SegmentationDock

#: Name of the dock's widget in the manifest.
WIDGET = "Sparse-label segmentation"


def train(viewer: Viewer) -> None:
    """Learn from the strokes."""
    _press(viewer, "train_button")


def segment_whole_image(viewer: Viewer) -> None:
    """Segment the whole image with the newest model."""
    _press(viewer, "predict_button")


def next_spot(viewer: Viewer) -> None:
    """Go where a stroke would help most."""
    _press(viewer, "next_spot_button")


def add_class(viewer: Viewer) -> None:
    """Add a class and paint it."""
    _press(viewer, "add_class_button")


def export(viewer: Viewer) -> None:
    """Export the segmentation."""
    _press(viewer, "export_button")


def segment_many(viewer: Viewer) -> None:
    """Segment files, folders or the list into files."""
    _press(viewer, "batch_button")


def open_project(viewer: Viewer) -> None:
    """Open a project."""
    _press(viewer, "project_open_button")


def new_project(viewer: Viewer) -> None:
    """Close the list and begin an empty one."""
    open_dock(viewer).projects.recent.ask_to_begin()


def save_project(viewer: Viewer) -> None:
    """Save the list as a project, or what has changed in it."""
    _press(viewer, "project_save_button")


def save_project_as(viewer: Viewer) -> None:
    """Go on in a copy of the project under another name."""
    open_dock(viewer).projects.recent.ask_to_copy()


def _press(viewer: Any, name: str) -> None:
    dock = open_dock(viewer)
    button = dock.findChild(QPushButton, name)
    if button is None:
        raise LookupError(f"the dock has no button {name!r}")
    if button.isEnabled():
        button.click()
    else:
        show_info(f"{button.text()} has to wait: {dock.panel.status_label.text()}")


def open_dock(viewer: Any) -> SegmentationDock:
    """The dock of `viewer`, opened or shown if it is not."""
    around, dock = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    if around.isHidden():
        around.show()
    found: SegmentationDock = getattr(dock, "__wrapped__", dock)
    return found
