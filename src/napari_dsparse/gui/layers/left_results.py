"""Result layers of images that were left, found again where they are as they were."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_dsparse.gui.layers.marks import our_role
from napari_dsparse.gui.layers.result_layers import ResultLayers
from napari_dsparse.gui.layers.viewer import in_viewer

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels


@dataclass(frozen=True, slots=True, eq=False)
class _Left:
    """Results of an image, and the pixels that they are of."""

    key: Hashable
    pixels: Any
    segmentation: weakref.ref[Labels]
    maps: Mapping[int, weakref.ref[Image]]


class LeftResults:
    """Remembers the results of each image that was in front.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._left: WeakKeyDictionary[Image, _Left] = WeakKeyDictionary()

    def leave(self, key: Hashable, results: ResultLayers) -> None:
        """Remember the results of an image that is left."""
        image, segmentation = results.image, results.segmentation
        self._left.pop(image, None)
        if segmentation is not None:
            maps = {number: weakref.ref(each) for number, each in results.maps.items()}
            self._left[image] = _Left(key, image.data, weakref.ref(segmentation), maps)

    def lose(self, segmentation: Labels) -> Hashable:
        """Forget a segmentation that is gone, or the user's; the key of its image, or None."""
        for image, left in self._left.items():
            if left.segmentation() is segmentation:
                del self._left[image]
                return left.key
        return None

    def find(self, key: Hashable, image: Image) -> tuple[Labels, dict[int, Image]] | None:
        """Segmentation and maps of an image that was read in the same way, if its pixels are the same."""
        left = self._left.get(image)
        segmentation = None if left is None else left.segmentation()
        if left is None or segmentation is None or left.key != key or left.pixels is not image.data:
            return None
        if not in_viewer(self._viewer, segmentation) or our_role(segmentation) != "segmentation":
            return None
        maps = {number: layer for number, each in left.maps.items() if (layer := each()) is not None}
        return segmentation, {n: layer for n, layer in maps.items() if in_viewer(self._viewer, layer)}
