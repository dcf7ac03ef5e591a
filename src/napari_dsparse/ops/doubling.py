"""Sums of many taps by doubling of windows: one order of additions on every device.

A window of m taps joined with itself, m taps further on, is one of 2 m; joined with one more tap, of 2 m + 1.
So k taps along one axis take at most 2 log2(k) additions per pixel.
"""

from __future__ import annotations


def doublings(taps: int) -> tuple[bool, ...]:
    """For each time that a window of one tap is doubled to reach `taps`: whether it then takes one more tap.

    They are the digits of `taps` in base 2 after the first.
    """
    return tuple(digit == "1" for digit in f"{taps:b}"[1:])


def additions(taps: int) -> int:
    """Additions per pixel that `taps` along one axis take: one per doubling, one per further tap."""
    found = doublings(taps)
    return len(found) + sum(found)
