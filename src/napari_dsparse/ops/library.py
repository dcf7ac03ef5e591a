"""Registration of the operators: importing this module defines `torch.ops.dsparse`.

Each operator has a schema, an implementation for every device (plain PyTorch), one for CUDA (a kernel where
one can run), a fake one for tracing, differentiation rules (backward and forward mode, for autograd and for
`torch.func`) and, for the convolutions, an autocast rule. Low-level `torch.library` rather than `custom_op`:
several implementations per operator, and less overhead per call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from napari_dsparse.ops import dispatch, fakes, reference
from napari_dsparse.ops.autograd import RULES
from napari_dsparse.ops.schemas import NAMESPACE, SCHEMAS
from napari_dsparse.ops.tangents import with_tangents
from napari_dsparse.ops.transforms import transformed

#: Operators that autocast runs in its lower precision; the pools keep the type of what they are given, and
#: backward parts that of the gradient.
AUTOCAST = ("conv2d", "site_conv2d")


class _Library(torch.library.Library):
    """A library whose operators know forward mode: its kernels for autograd ask for tangents first."""

    def impl(self, op_name: Any, fn: Any, dispatch_key: str = "", **options: Any) -> Any:
        if dispatch_key == "Autograd":
            fn = with_tangents(op_name, fn)
        return super().impl(op_name, fn, dispatch_key, **options)  # type: ignore[no-untyped-call]


#: Keeps the registrations alive: they end with this object.
_LIBRARY: Any = _Library(NAMESPACE, "DEF")  # type: ignore[no-untyped-call]

#: The operators, by name.
OPS: Any = getattr(torch.ops, NAMESPACE)


def _define(name: str) -> None:
    qualified = f"{NAMESPACE}::{name}"
    _LIBRARY.define(f"{name}{SCHEMAS[name]}", tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, getattr(reference, name), "CompositeExplicitAutograd")
    _LIBRARY.impl(name, partial(dispatch.run, name), "CUDA")
    torch.library.register_fake(qualified, getattr(fakes, name), lib=_LIBRARY)
    setup, backward = RULES[name]
    torch.library.register_autograd(qualified, backward, setup_context=setup, lib=_LIBRARY)
    _LIBRARY.impl(name, transformed(name), "FuncTorchDynamicLayerFrontMode")


def _autocast(name: str) -> None:
    operator = getattr(OPS, name)

    def run(*args: Any) -> Any:
        device = args[0].device.type
        lower = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return operator(*(_cast(arg, lower) for arg in args))

    for device in ("CPU", "CUDA"):
        _LIBRARY.impl(name, run, f"Autocast{device}")


def _cast(arg: Any, lower: torch.dtype) -> Any:
    """Floating tensors in the lower precision; float64 is left alone, as autocast does everywhere."""
    if isinstance(arg, Tensor) and arg.is_floating_point() and arg.dtype != torch.float64:
        return arg.to(lower)
    return arg


for _name in SCHEMAS:
    _define(_name)
for _name in AUTOCAST:
    _autocast(_name)
