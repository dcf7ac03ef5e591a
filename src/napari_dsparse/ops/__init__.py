"""d-regularly sparse layer operations: on whole maps, and on active sites.

Source: Li, Zhao and Wang, "Highly Efficient Forward and Backward Propagation of Convolutional Neural
Networks for Pixelwise Classification", arXiv:1412.4526.

The functions here check what they are given and call the operators `torch.ops.dsparse`, which importing
this package defines. `schemas` tells what those are, `reference` how they are computed, `dispatch` who
computes them on a CUDA device, and `README.md` the rest.
"""

from napari_dsparse.ops.maps import avg_pool2d, conv2d, max_pool2d
from napari_dsparse.ops.sites import KernelMap, site_avg_pool2d, site_conv2d, site_max_pool2d

__all__ = [
    "KernelMap",
    "avg_pool2d",
    "conv2d",
    "max_pool2d",
    "site_avg_pool2d",
    "site_conv2d",
    "site_max_pool2d",
]
