"""The layers that learn, on whole crops: as fragments, where every convolution is dense.

After a layer of stride s a map is split into its s x s phases, which go to the batch axis. It is the same
arithmetic as the package's dilated layers, in the order that PyTorch does fastest forward and backward.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dsparse.network import patch_size


class Fragments(nn.Module):
    """Features at every pixel of a batch of crops.

    Parameters
    ----------
    trunk : Sequential
        Square convolutions in one group, square max-pools and pointwise activations; not copied.
    bfloat16 : bool
        True if convolutions compute in bfloat16, which is twice as fast where a processor has it.
    """

    def __init__(self, trunk: nn.Sequential, bfloat16: bool = False) -> None:
        super().__init__()
        self._trunk = trunk.to(memory_format=torch.channels_last)
        self._bfloat16 = bfloat16
        self.patch = int(torch.as_tensor(patch_size(trunk)).max())

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to features (N, F, H-P+1, W-P+1), of the images' type."""
        strides: list[int] = []
        maps = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            for layer in self._trunk:
                stride = int(torch.as_tensor(getattr(layer, "stride", 1)).max())
                if isinstance(layer, nn.MaxPool2d):
                    maps = F.max_pool2d(maps, layer.kernel_size, 1)
                elif isinstance(layer, nn.Conv2d):
                    maps = F.conv2d(maps, layer.weight, layer.bias)
                else:
                    maps = layer(maps)
                if stride > 1:
                    maps = _split(maps, stride)
                    strides.append(stride)
        for stride in reversed(strides):
            maps = _join(maps, stride)
        rows, columns = (extent - self.patch + 1 for extent in images.shape[2:])
        return maps[:, :, :rows, :columns].to(images.dtype)


def _split(maps: Tensor, stride: int) -> Tensor:
    """Phases to the batch axis; edges that do not divide are filled up with zeros, which stay at the edge."""
    rows, columns = maps.shape[2:]
    maps = F.pad(maps, (0, -columns % stride, 0, -rows % stride))
    n, c, rows, columns = maps.shape
    phases = maps.reshape(n, c, rows // stride, stride, columns // stride, stride).permute(3, 5, 0, 1, 2, 4)
    joined = phases.reshape(stride * stride * n, c, rows // stride, columns // stride)
    return joined.contiguous(memory_format=torch.channels_last)


def _join(maps: Tensor, stride: int) -> Tensor:
    """The inverse of `_split`."""
    batch, c, rows, columns = maps.shape
    phases = maps.reshape(stride, stride, batch // stride**2, c, rows, columns)
    return phases.permute(2, 3, 4, 0, 5, 1).reshape(-1, c, rows * stride, columns * stride)
