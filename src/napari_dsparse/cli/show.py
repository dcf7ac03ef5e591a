"""A napari window at the state that the demo reached."""

from __future__ import annotations
