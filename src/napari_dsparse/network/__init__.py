"""The exact whole-image form of any patch classifier: its geometry, its forms, and its layers."""

from napari_dsparse.network.dense import DenseNetwork, densify
from napari_dsparse.network.geometry import Geometry, patch_size, trace

__all__ = ["DenseNetwork", "Geometry", "densify", "patch_size", "trace"]
