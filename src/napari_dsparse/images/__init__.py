"""What comes in: arrays and files, their axes and channels, and the range of their values."""

from napari_dsparse.images.normalisation import Normalisation
from napari_dsparse.images.reading import ImageFile, read_image, read_labels
from napari_dsparse.images.source import ImageSource, resolve_image

__all__ = ["ImageFile", "ImageSource", "Normalisation", "read_image", "read_labels", "resolve_image"]
