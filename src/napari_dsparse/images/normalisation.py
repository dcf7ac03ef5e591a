"""Placeholder until the images room stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Per-channel offset and scale."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]
