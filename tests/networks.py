"""Random patch classifiers, and the plainest possible oracle: run every patch by itself."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from napari_dsparse.network import trace

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.SiLU, nn.PReLU)


@st.composite
def patch_networks(draw, max_patch: int = 14, floats: torch.dtype = torch.float64) -> nn.Sequential:
    """Rectangular kernels, strides, dilations, groups, pools with k != s, BatchNorm, Linear."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    channels = first = draw(st.integers(1, 3))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "conv", "grouped", "max", "avg"]))
        kernel, stride, dilation = draw(pair), draw(pair), draw(st.sampled_from([(1, 1), (1, 2), (2, 1)]))
        if kind == "grouped":
            layers.append(
                nn.Conv2d(channels, 2 * channels, kernel, stride, dilation=dilation, groups=channels)
            )
            channels *= 2
        elif kind == "conv":
            out = draw(st.integers(1, 4))
            layers.append(
                nn.Conv2d(channels, out, kernel, stride, dilation=dilation, bias=draw(st.booleans()))
            )
            channels = out
        elif kind == "max":
            layers.append(nn.MaxPool2d(kernel, stride, dilation=dilation))
        else:
            layers.append(nn.AvgPool2d(kernel, stride, divisor_override=draw(st.sampled_from([None, 3]))))
        if draw(st.booleans()):
            norm = nn.BatchNorm2d(channels)
            nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
            layers.append(norm)
        if draw(st.booleans()):
            layers.append(draw(st.sampled_from(ACTIVATIONS))())
        if draw(st.booleans()):
            layers.append(nn.Dropout(0.4))
        if max(trace(nn.Sequential(*layers).eval()).patch) > max_patch:
            layers = layers[:1] if max(trace(nn.Sequential(layers[0]).eval()).patch) <= max_patch else []
            channels = _channels(layers, first)
            break
    if draw(st.booleans()) and any(isinstance(layer, nn.Conv2d) for layer in layers):
        side = draw(st.integers(1, 2))
        layers += [nn.Flatten(), nn.ReLU(), nn.Linear(channels * side * side, 3), nn.Tanh(), nn.Linear(3, 2)]
    else:
        layers.append(nn.Conv2d(channels, 2, 1))
    cut = draw(st.integers(0, len(layers)))
    nested = nn.Sequential(nn.Sequential(*layers[:cut]), *layers[cut:])
    nested.in_channels = first
    return nested.to(floats).eval()


def _channels(layers: list[nn.Module], first: int) -> int:
    for layer in layers:
        first = getattr(layer, "out_channels", first)
    return first


def every_patch(network: nn.Module, image: Tensor, patch: tuple[int, int]) -> Tensor:
    """Scores (K, H - P + 1, W - P + 1) of each patch of an image (C, H, W), one patch after another."""
    rows, columns = image.shape[1] - patch[0] + 1, image.shape[2] - patch[1] + 1
    patches = [image[:, y : y + patch[0], x : x + patch[1]] for y in range(rows) for x in range(columns)]
    scores = network(torch.stack(patches)).reshape(rows * columns, -1)
    return scores.t().reshape(-1, rows, columns)


def gradients(output: Tensor, seed: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of (output * seed).sum(), zeros where an input has no part in it."""
    found = torch.autograd.grad((output * seed).sum(), inputs, allow_unused=True)
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]
