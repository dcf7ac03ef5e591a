"""Features of some pixels of a wide scene, as the classifier sees them: detail, and means around it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.images import resolve_image
from napari_dsparse.images.normalisation import Normalisation

#: Network whose layers give the detail.
NETWORK = "compact"

#: Windows that features are averaged over, in pixels, and the distance of their taps.
WINDOWS = (33, 97, 193)
STEP = 4

#: Patches per pass.
_PATCHES = 1024


class WideFeatures:
    """The frozen layers of the network that ships, channel by channel, and means over wide windows."""

    def __init__(self) -> None:
        spec = NetworkSpec(NETWORK, 1, 2)
        trunk = spec.empty()[:-1]
        trunk.load_state_dict(warm_start(spec).weights, assign=True)
        self._trunk = trunk.eval().requires_grad_(False)
        self._half = spec.patch // 2

    @torch.inference_mode()
    def of(self, image: NDArray[np.float32], places: NDArray[np.int64]) -> Tensor:
        """Features of pixels of an image (C, N, N) at flattened `places` (S,).

        Returns
        -------
        Tensor of float32, shape (S, 1 + W, C * F)
            In detail, then over each of the W windows. Those of a window are of the nearest pixel whose row
            and column `STEP` divides.
        """
        size, half = image.shape[-1], self._half
        source = resolve_image(image if len(image) > 1 else image[0], labels_shape=(size, size))
        reach = (-half, size + half)
        pixels = torch.from_numpy(Normalisation.measure([source]).apply(source.read((), reach, reach)))
        rows, columns = np.divmod(places, size)
        near = [
            torch.from_numpy(np.minimum((axis + STEP // 2) // STEP, (size - 1) // STEP))
            for axis in (rows, columns)
        ]
        per_channel = []
        for channel in pixels:
            patches = channel.unfold(0, 2 * half + 1, 1).unfold(1, 2 * half + 1, 1)[rows, columns]
            detail = torch.cat([self._look(part[:, None])[:, :, 0, 0] for part in patches.split(_PATCHES)])
            (lattice,) = self._look(channel[None, None])
            means = [window_means(lattice, width)[:, near[0], near[1]].T for width in WINDOWS]
            per_channel.append(torch.stack([detail, *means], 1))
        return torch.cat(per_channel, 2)

    def _look(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) to features (N, F, h, w) at every fourth pixel."""
        seen: Tensor = self._trunk(images.contiguous(memory_format=torch.channels_last))
        return seen


def window_means(lattice: Tensor, width: int) -> Tensor:
    """Means of features (F, h, w), `STEP` pixels apart, over windows of `width` pixels, mirrored."""
    reach = width // (2 * STEP)
    padded = F.pad(lattice[None], (reach,) * 4, mode="reflect")
    taps = 2 * reach + 1
    means: Tensor
    (means,) = F.avg_pool2d(F.avg_pool2d(padded, (taps, 1), 1), (1, taps), 1)
    return means
