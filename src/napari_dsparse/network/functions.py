"""Functions and methods of tensors that are equivalent to layers, as a trace names them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: The layer equivalent to a function; further arguments are those of the layer, in order.
ACTIVATIONS: Mapping[Any, type[nn.Module]] = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, F.relu6: nn.ReLU6, F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU,
    F.selu: nn.SELU, torch.selu: nn.SELU, F.celu: nn.CELU, F.gelu: nn.GELU, F.silu: nn.SiLU, F.mish: nn.Mish,
    F.hardswish: nn.Hardswish, F.hardsigmoid: nn.Hardsigmoid, F.hardtanh: nn.Hardtanh, F.tanh: nn.Tanh,
    torch.tanh: nn.Tanh, F.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid, F.logsigmoid: nn.LogSigmoid,
    F.softplus: nn.Softplus, F.softsign: nn.Softsign, F.softshrink: nn.Softshrink,
    F.hardshrink: nn.Hardshrink, F.tanhshrink: nn.Tanhshrink, F.threshold: nn.Threshold,
    F.softmax: nn.Softmax, torch.softmax: nn.Softmax, F.log_softmax: nn.LogSoftmax,
    torch.log_softmax: nn.LogSoftmax, F.avg_pool2d: nn.AvgPool2d, F.max_pool2d: nn.MaxPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d, F.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
    "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax, "contiguous": nn.Identity, "clone": nn.Identity,
}  # fmt: skip
#: The in-place variants.
IN_PLACE: Mapping[Any, type[nn.Module]] = {
    torch.relu_: nn.ReLU, torch.tanh_: nn.Tanh, torch.sigmoid_: nn.Sigmoid,
    "relu_": nn.ReLU, "tanh_": nn.Tanh, "sigmoid_": nn.Sigmoid,
}  # fmt: skip
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
CATS = (torch.cat, torch.concat, torch.concatenate)
MEANS = (torch.mean, "mean")
MAXIMA = (torch.amax, "amax")
FLATTENS = (torch.flatten, "flatten")
RESHAPES = (torch.reshape, "reshape", "view")
