"""Images as arrays and files: their axes, channels and range of values.

Files are read by `napari_dsparse.images.reading`, which is not imported here: arrays do not need it.
"""

from napari_dsparse.images.normalisation import NORMALISATIONS, Normalisation
from napari_dsparse.images.source import ImageSource, resolve_image

__all__ = ["NORMALISATIONS", "ImageSource", "Normalisation", "resolve_image"]
