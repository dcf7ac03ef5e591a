"""The operators of this library, as text: what `torch.ops.dsparse` holds.

Every implementation mirrors these signatures, argument by argument: `reference` (plain PyTorch), `fakes`
(shapes only), `autograd`, and the launchers in `cuda`. All are functional: nothing is written in place,
and no result aliases an argument.

Maps are (N, C, H, W); sites are rows, (M, C). An operator's stride is always 1 and it never pads, so

    Ho = H - (kh - 1) dh,    Wo = W - (kw - 1) dw

and the sizes of an input follow from those of an output. `kernel` and `dilation` are (rows, columns).

Layout
    A map that comes out has the layout of the first map that went in (`x` or `grad`): channels-last if that
    one is dense in channels-last order and not also in plain order, plain (contiguous) otherwise. Winners
    have the layout of their map. Weights, weight gradients and rows are always plain. Rules written once, in
    `shapes.layout_of`; every result is dense.
Activation
    ``"none"``, ``"relu"`` or ``"tanh"``, applied to the sum with the bias. ``"relu"`` multiplies negative
    values by `slope` (>= 0; 0 is the plain ReLU). All three have a derivative that is a function of the
    *output*, which is why no others are fused.
Max-pool
    Tap t = ty kw + tx, row-major. A tap takes the lead if it is larger than all before it, or NaN; so the
    first of equal taps wins and NaN comes through, as in `torch.nn.MaxPool2d`. Winners are uint8: a window
    has at most 256 taps. With ``record=False`` winners come out empty, shape (0,), uint8. Backward parts may
    rely on this rule: on a map, all windows whose winner lies in one row agree on the winning pixel there.
Average-pool
    The sum of the taps divided by `divisor`, which is any integer but 0.
Kernel maps
    rows (S, T): input row of tap t at output site s, in 0 .. M - 1; no row occurs twice under one tap.
    inverse (M, T): output site that reads input row m through tap t; S where there is none.
    Both int32 or both int64, contiguous.
    Weights meet taps in row-major order: tap ty kw + tx is weight[:, :, ty, tx].
Precision
    float64, float32, float16, bfloat16; all floating arguments of a call have one type, and so have its
    results. Sums of the 16-bit types are kept in float32. Results repeat bit for bit on one device: no
    atomics, and a fixed order of summation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

NAMESPACE = "dsparse"

#: Activations that a convolution can apply to its sum, by the name its schema takes.
ACTIVATIONS = ("none", "relu", "tanh")

#: Taps a winner of type uint8 can tell apart.
MOST_WINNER_TAPS = 256

#: Signature of every operator, by name, in the language of `torch.library`.
SCHEMAS: Mapping[str, str] = {
    # (N, C, H, W), (K, C / groups, kh, kw), (K,) -> (N, K, Ho, Wo)
    "conv2d": (
        "(Tensor x, Tensor weight, Tensor? bias, int[2] dilation, int groups, str activation, float slope)"
        " -> Tensor"
    ),
    # (N, K, Ho, Wo), (K, C / groups, kh, kw) -> (N, C, H, W)
    "conv2d_input_grad": "(Tensor grad, Tensor weight, int[2] dilation, int groups) -> Tensor",
    # (N, C, H, W), (N, K, Ho, Wo) -> (K, C / groups, kh, kw)
    "conv2d_weight_grad": ("(Tensor x, Tensor grad, int[2] kernel, int[2] dilation, int groups) -> Tensor"),
    # (N, C, H, W) -> out (N, C, Ho, Wo), winners (N, C, Ho, Wo) uint8
    "max_pool2d": "(Tensor x, int[2] kernel, int[2] dilation, bool record) -> (Tensor, Tensor)",
    # (N, C, Ho, Wo), (N, C, Ho, Wo) uint8 -> (N, C, H, W)
    "max_pool2d_backward": ("(Tensor grad, Tensor winners, int[2] kernel, int[2] dilation) -> Tensor"),
    # (N, C, H, W) -> (N, C, Ho, Wo)
    "avg_pool2d": "(Tensor x, int[2] kernel, int[2] dilation, int divisor) -> Tensor",
    # (N, C, Ho, Wo) -> (N, C, H, W)
    "avg_pool2d_backward": "(Tensor grad, int[2] kernel, int[2] dilation, int divisor) -> Tensor",
    # (M, C), (K, C / groups, kh, kw), (K,), (S, T), (M, T) -> (S, K)
    "site_conv2d": (
        "(Tensor x, Tensor weight, Tensor? bias, Tensor rows, Tensor inverse, int groups, str activation,"
        " float slope) -> Tensor"
    ),
    # (S, K), (K, C / groups, kh, kw), (S, T), (M, T) -> (M, C)
    "site_conv2d_input_grad": (
        "(Tensor grad, Tensor weight, Tensor rows, Tensor inverse, int groups) -> Tensor"
    ),
    # (M, C), (S, K), (S, T), (M, T) -> (K, C / groups, kh, kw)
    "site_conv2d_weight_grad": (
        "(Tensor x, Tensor grad, Tensor rows, Tensor inverse, int[2] kernel, int groups) -> Tensor"
    ),
    # (M, C), (S, T), (M, T) -> out (S, C), winners (S, C) uint8
    "site_max_pool2d": "(Tensor x, Tensor rows, Tensor inverse, bool record) -> (Tensor, Tensor)",
    # (S, C), (S, C) uint8, (S, T), (M, T) -> (M, C)
    "site_max_pool2d_backward": ("(Tensor grad, Tensor winners, Tensor rows, Tensor inverse) -> Tensor"),
    # (M, C), (S, T), (M, T) -> (S, C)
    "site_avg_pool2d": "(Tensor x, Tensor rows, Tensor inverse, int divisor) -> Tensor",
    # (S, C), (S, T), (M, T) -> (M, C)
    "site_avg_pool2d_backward": ("(Tensor grad, Tensor rows, Tensor inverse, int divisor) -> Tensor"),
}


@cache
def argument_names(operator: str) -> tuple[str, ...]:
    """Names of an operator's arguments, in order."""
    arguments = SCHEMAS[operator].partition("(")[2].partition(")")[0]
    return tuple(argument.split()[-1] for argument in arguments.split(", "))
