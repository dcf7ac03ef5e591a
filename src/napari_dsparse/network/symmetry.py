"""The eight symmetries of the square, applied to a network's kernels.

Turning every kernel of a patch classifier has the same effect as turning the image under it: sites,
kernel maps and tiles stay as they are. That makes rotated and mirrored training, and averaging over
symmetries at prediction, as cheap as a copy of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

#: Number of symmetries: four turns, each mirrored or not.
SYMMETRIES = 8


def turn_kernels(weights: Mapping[str, Tensor], symmetry: int) -> dict[str, Tensor]:
    """Weights whose kernels (4-D, square) are turned; all others are unchanged.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters by name; gradients flow through.
    symmetry : int
        0 (as they are) to 7: quarter turns, mirrored from 4 on.
    """
    return {name: turn(weight, symmetry) if weight.ndim == 4 else weight for name, weight in weights.items()}


def turn(kernel: Tensor, symmetry: int) -> Tensor:
    """One kernel, turned in its last two axes by `symmetry` quarter turns and mirrored from 4 on."""
    if symmetry >= 4:
        kernel = kernel.flip(-1)
    return kernel.rot90(symmetry % 4, (-2, -1)) if symmetry % 4 else kernel


def symmetries_for(n_symmetries: int) -> tuple[int, ...]:
    """Symmetries to average, by number: 1 none, 2 a mirror, 4 both mirrors (no transposition), 8 all."""
    return {1: (0,), 2: (0, 4), 4: (0, 2, 4, 6), 8: tuple(range(SYMMETRIES))}[n_symmetries]
