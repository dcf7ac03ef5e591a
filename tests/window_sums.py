"""Layouts, window sizes and error bounds for tests of average pools with many taps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

LAYOUTS = {"plain": torch.contiguous_format, "channels-last": torch.channels_last}
LAYOUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)

#: Unit roundoff of each type, and of the type that its sums are kept in.
ROUNDOFF = {
    torch.float64: (0.0, 2.0**-53),
    torch.float32: (0.0, 2.0**-24),
    torch.float16: (2.0**-11, 2.0**-24),
    torch.bfloat16: (2.0**-8, 2.0**-24),
}

TAPS = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 25, 31, 49, 64, 193]))


def exact(x, kernel, dilation):
    """Sums of windows in float64, one tap after another, axis by axis."""
    total = x.double()
    for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True), start=2):
        length = x.shape[axis] - (k - 1) * d
        total = sum(total.narrow(axis, tap * d, length) for tap in range(k))
    return total


def error_bound(magnitudes, wanted, kernel, dtype):
    """The bound that `window_sums` states, with 1 % for terms of second order; sums come in divided."""
    stored, summed = ROUNDOFF[dtype]
    additions = 2 * sum(k.bit_length() - 1 for k in kernel) + 1
    least = 2.0**-25 if dtype == torch.float16 else 0.0  # half a step between its smallest numbers
    return 1.01 * (additions * summed * magnitudes + stored * wanted.abs()) + least + 1e-15
