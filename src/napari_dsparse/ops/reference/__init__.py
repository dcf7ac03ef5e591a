"""Every operator in plain PyTorch: what the CPU runs, and other devices where they have no kernel.

It is also what the kernels are tested against. Functions are named as in `schemas.SCHEMAS` and take the
same arguments in the same order.
"""

from napari_dsparse.ops.reference.maps import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_input_grad,
    conv2d_weight_grad,
    max_pool2d,
    max_pool2d_backward,
)
from napari_dsparse.ops.reference.sites import (
    site_avg_pool2d,
    site_avg_pool2d_backward,
    site_conv2d,
    site_conv2d_input_grad,
    site_conv2d_weight_grad,
    site_max_pool2d,
    site_max_pool2d_backward,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "max_pool2d",
    "max_pool2d_backward",
    "site_avg_pool2d",
    "site_avg_pool2d_backward",
    "site_conv2d",
    "site_conv2d_input_grad",
    "site_conv2d_weight_grad",
    "site_max_pool2d",
    "site_max_pool2d_backward",
]
