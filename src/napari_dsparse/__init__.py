"""Interactive microscopy segmentation from a few painted strokes.

`train` learns from sparse labels and gives a `Model`; `densify` turns any ordinary patch classifier into
its exact whole-image form (arXiv:1412.4526). Importing this package needs neither Qt nor napari, and
imports torch only when something is used.
"""

# Until the program's own module is loaded, an interrupt ends in a traceback: so nothing is imported here,
# neither `typing`, whose import takes longer than all the rest, nor `__future__`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from napari_dsparse import ops
    from napari_dsparse.errors import DsparseError
    from napari_dsparse.model import Model, load_model, train
    from napari_dsparse.network import densify, patch_size
    from napari_dsparse.prediction.measurements import measure
    from napari_dsparse.project import Project

#: Where each public name lives.
_HOMES = {
    "DsparseError": "errors",
    "Model": "model",
    "Project": "project",
    "densify": "network",
    "load_model": "model",
    "measure": "prediction.measurements",
    "patch_size": "network",
    "train": "model",
}

__all__ = [
    "DsparseError",
    "Model",
    "Project",
    "densify",
    "load_model",
    "measure",
    "ops",
    "patch_size",
    "train",
]


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "ops":
        return import_module("napari_dsparse.ops")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
