"""Argument structures of the kernels, field by field as `sources` declares them."""

from __future__ import annotations

import ctypes

_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong, ctypes.c_float


class PoolArguments(ctypes.Structure):
    """pool.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("x", "out", "winners")),
        ("planes", _LONG),
        *((name, _INT) for name in ("height", "width", "out_height", "out_width", "taps_y", "taps_x")),
        *((name, _INT) for name in ("dilation_y", "dilation_x", "divisor", "blocks_per_plane")),
    )


#: Times that one launch of window_sums.cuh doubles windows.
MOST_DOUBLINGS = 3


class WindowSumsArguments(ctypes.Structure):
    """window_sums.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("x", "sums", "out")),
        ("total", _LONG),
        *((name, _INT) for name in ("inner", "length", "sums_length", "out_length")),
        *((name, _INT) for name in ("sums_first", "out_first", "window", "digits", "dilation", "divisor")),
    )


class SitePoolArguments(ctypes.Structure):
    """site_pool.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("x", "rows", "out", "winners")),
        ("sites", _LONG),
        *((name, _INT) for name in ("inputs", "taps", "channels", "divisor")),
    )


class PackArguments(ctypes.Structure):
    """pack.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("weight", "packed")),
        *((name, _LONG) for name in ("total", "group_stride", "row_stride", "channel_stride")),
        *((name, _INT) for name in ("rows", "row_tiles", "tile", "walked", "words", "elements", "channels")),
        *((name, _INT) for name in ("taps", "turned")),
    )


class ConvArguments(ctypes.Structure):
    """conv.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("x", "weight", "bias", "out")),
        *((name, _INT) for name in ("channels", "height", "width", "outputs", "out_height", "out_width")),
        *((name, _INT) for name in ("groups", "taps_y", "taps_x", "flat_x", "dilation_y", "dilation_x")),
        *((name, _INT) for name in ("pad_y", "pad_x", "elements", "words", "span", "strip")),
        *((name, _INT) for name in ("row_tiles", "column_tiles", "activation")),
        ("slope", _FLOAT),
    )


class WeightGradArguments(ctypes.Structure):
    """weight_grad.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("x", "grad", "parts")),
        *((name, _INT) for name in ("channels", "height", "width", "outputs", "out_height", "out_width")),
        *((name, _INT) for name in ("groups", "taps", "taps_x", "dilation_y", "dilation_x")),
        *((name, _INT) for name in ("row_tiles", "column_tiles", "units_per_row")),
        *((name, _LONG) for name in ("units", "units_per_split")),
    )


class SumPartsArguments(ctypes.Structure):
    """sum_parts.cuh"""

    _fields_ = (
        *((name, _POINTER) for name in ("parts", "out")),
        ("total", _LONG),
        *((name, _INT) for name in ("splits", "channels", "taps")),
        *((name, _LONG) for name in ("output_stride", "channel_stride", "tap_stride")),
    )


class GatherArguments(ctypes.Structure):
    """gather.cuh"""

    _fields_ = (
        ("rows", _POINTER),
        *((name, _LONG) for name in ("sites", "inputs")),
        *((name, _INT) for name in ("taps", "height", "width", "out_height", "out_width", "taps_x")),
        *((name, _INT) for name in ("dilation_y", "dilation_x", "pad_y", "pad_x")),
    )


class SiteConvArguments(ctypes.Structure):
    """site_conv.cuh"""

    _fields_ = (
        ("gather", GatherArguments),
        *((name, _POINTER) for name in ("x", "weight", "bias", "out")),
        *((name, _INT) for name in ("channels", "outputs", "groups", "elements", "words", "quads")),
        *((name, _INT) for name in ("column_tiles", "activation")),
        ("slope", _FLOAT),
    )


class SiteWeightGradArguments(ctypes.Structure):
    """site_weight_grad.cuh"""

    _fields_ = (
        ("gather", GatherArguments),
        *((name, _POINTER) for name in ("x", "grad", "parts")),
        *((name, _INT) for name in ("channels", "outputs", "groups", "row_tiles", "column_tiles")),
        *((name, _LONG) for name in ("units", "units_per_split")),
    )
