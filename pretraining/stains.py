"""Image channels from dyes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pretraining.draws import FloatMap


def absorption(rng: np.random.Generator, dyes: FloatMap) -> FloatMap:
    """Red, green and blue through stained tissue (Beer and Lambert): each dye takes its own part of them."""
    spectra = rng.dirichlet((1.2,) * 3, len(dyes)) * rng.uniform(1, 2.5, (len(dyes), 1)) + 0.05
    light: FloatMap = np.exp(-np.einsum("dc,dyx->cyx", spectra, dyes))
    return light


def fluorescence(rng: np.random.Generator, dyes: FloatMap) -> FloatMap:
    """Two to four channels, one dye in each, with some of the others' light."""
    channels = max(2, int(rng.integers(len(dyes), 5)))
    bleed = rng.uniform(0, 0.35) * rng.random((channels, len(dyes)))
    bleed[np.arange(channels), np.arange(channels) % len(dyes)] += rng.uniform(0.4, 1, channels)
    light: FloatMap = np.einsum("cd,dyx->cyx", bleed, dyes)
    return light


def colours(rng: np.random.Generator, dyes: FloatMap) -> FloatMap:
    """Red, green and blue of things that shine or are dark in any colour."""
    light: FloatMap = np.einsum("cd,dyx->cyx", rng.normal(0, 1, (3, len(dyes))), dyes)
    return light


def grey(rng: np.random.Generator, dyes: FloatMap) -> FloatMap:
    """One channel that all dyes brighten, or all darken, by different parts."""
    sign = rng.choice([-1, 1])
    light: FloatMap = sign * np.einsum("d,dyx->yx", rng.uniform(0.2, 1, len(dyes)), dyes)[None]
    return light


#: All alike likely; stained sections stand here twice, and one channel thrice.
METHODS: tuple[Callable[[np.random.Generator, FloatMap], FloatMap], ...] = (
    absorption,
    absorption,
    absorption,
    fluorescence,
    fluorescence,
    colours,
    grey,
    grey,
    grey,
)
