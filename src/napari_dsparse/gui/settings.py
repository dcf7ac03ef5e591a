"""The plugin's settings, which napari keeps and shows in its preferences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

#: Name of the plugin in napari, and of the group of settings in the manifest.
PLUGIN, GROUP = "napari-dsparse", "segmentation"


@dataclass(frozen=True, slots=True)
class Settings:
    """The values that a dock begins with; the manifest has the same names, ranges and defaults.

    Parameters
    ----------
    device : str
        What computes: "auto" or the name of a device.
    live : bool
        Learn from every stroke as soon as it is painted.
    overlay_opacity : int
        Of the segmentation, in per cent.
    hide_background : bool
        Leave the first class out of the segmentation that is shown.
    autosave_seconds : int
        From a change to its saving in a project.
    view_memory_mb : int
        Megabytes of features of the view that are kept between strokes; 0 goes by the computer's memory.
    """

    device: str = "auto"
    live: bool = True
    overlay_opacity: int = 40
    hide_background: bool = False
    autosave_seconds: int = 5
    view_memory_mb: int = 0


def read_settings() -> Settings:
    """The present settings; the defaults where napari is too old to keep any."""
    group = _group()
    if group is None:
        return Settings()
    return Settings(**{each.name: getattr(group, each.name) for each in fields(Settings)})


def follow_settings(told: Callable[[Any], None]) -> Callable[[], None]:
    """Call `told`, a bound method, whenever a setting changes; returns what ends that."""
    group = _group()
    if group is None:
        return lambda: None
    group.events.connect(told)

    def end() -> None:
        group.events.disconnect(told)

    return end


def _group() -> Any:
    try:
        from napari.settings import get_plugin_settings  # since napari 0.9
    except ImportError:
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), GROUP)
    except KeyError:  # the manifest is not installed, as in a checkout
        return None
