"""The bundled samples as napari's File > Open Sample gives them: image and strokes, ready to train."""

from __future__ import annotations

from typing import Any, TypeAlias

from napari_dsparse.gui.layers.class_look import class_colormap, class_features
from napari_dsparse.gui.layers.marks import METADATA_KEY
from napari_dsparse.gui.layers.strokes_layer import STROKES_OPACITY
from napari_dsparse.samples import load

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]


def nuclei() -> list[LayerData]:
    """Nuclei in fluorescence."""
    return _layers("nuclei")


def tissue() -> list[LayerData]:
    """Nuclei in stained tissue, in colour."""
    return _layers("tissue")


def phase() -> list[LayerData]:
    """Cells in phase contrast."""
    return _layers("phase")


def _layers(name: str) -> list[LayerData]:
    sample = load(name)
    place = {"scale": sample.scale, "units": sample.units}
    return [
        (
            sample.image,
            {"name": name, "rgb": sample.image.ndim == 3, "metadata": {"attribution": sample.attribution}}
            | place,
            "image",
        ),
        (
            sample.strokes,
            {
                "name": f"{name} strokes",
                "opacity": STROKES_OPACITY,
                "features": class_features(sample.classes),
                "colormap": class_colormap(sample.classes),
                "metadata": {METADATA_KEY: {"role": "strokes"}},
            }
            | place,
            "labels",
        ),
    ]
