"""Images that the newest model has segmented as a whole, in front or behind, as a value."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """An image whose segmentation layer holds the newest model's label of every pixel.

    Parameters
    ----------
    key : hashable
        Of the image.
    matched : bool
        It was normalised by its own grey values.
    uncertainty, probabilities : bool
        Maps that were computed along with the labels.
    """

    key: Hashable
    matched: bool
    uncertainty: bool
    probabilities: bool

    def covers(self, *, uncertainty: bool, probabilities: bool) -> bool:
        """True if all maps that are wanted were computed, too."""
        return self.uncertainty >= uncertainty and self.probabilities >= probabilities
