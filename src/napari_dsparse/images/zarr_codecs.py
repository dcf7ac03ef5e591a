"""Codecs of Zarr arrays that alter values, told by their names and options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

#: Codecs that alter values whatever their options.
_LOSSY = (
    *("bitround", "quantize", "fixedscaleoffset", "scale_offset"),
    *("float24", "jpeg", "jpeg8", "mozjpeg", "jpegxr", "jpegxs", "ultrahdr", "avif", "heif", "jetraw"),
    *("sperr", "sz3", "ffmpeg"),
)
#: Codecs that keep every value only where an option says so.
_LOSSLESS_BY = {"jpeg2k": "reversible", "htj2k": "reversible", "jpegxl": "lossless", "webp": "lossless"}
#: Codecs that keep every value unless an option allows an error.
_LOSSY_BY = {"jpegls": "level", "lerc": "level"}
#: The mode of zfp that keeps every value.
_ZFP_REVERSIBLE = 5
#: Codecs by zfp.
_ZFP = ("zfpy", "zfp")


def codecs_are_lossy(metadata: Mapping[str, Any]) -> bool:
    """True if values of an array may differ from those that were saved.

    Parameters
    ----------
    metadata : mapping
        Of an array, as its JSON has it, in version 2 or 3; codecs within shards are looked at as well.
    """
    return any(_is_lossy(name, options) for name, options in _codecs(metadata))


def _codecs(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and options of the codecs, names without that of the package they are of."""
    listed = [*(metadata.get("filters") or ()), metadata.get("compressor"), *(metadata.get("codecs") or ())]
    for codec in listed:
        if isinstance(codec, str):
            codec = {"name": codec}
        if not isinstance(codec, Mapping):
            continue
        options = codec.get("configuration", codec) or {}
        name = str(codec.get("id", codec.get("name", ""))).lower()
        yield name.removeprefix("numcodecs.").removeprefix("imagecodecs_"), options
        yield from _codecs({"codecs": options.get("codecs")})


def _is_lossy(name: str, options: Mapping[str, Any]) -> bool:
    if name in _LOSSLESS_BY:
        return not options.get(_LOSSLESS_BY[name])
    if name in _LOSSY_BY:
        return bool(options.get(_LOSSY_BY[name]))
    if name in _ZFP:
        return options.get("mode") not in (_ZFP_REVERSIBLE, "reversible")
    if name == "astype":
        return not _holds(options.get("encode_dtype"), options.get("decode_dtype"))
    return name in _LOSSY


def _holds(stored: Any, saved: Any) -> bool:
    """True if every value of the dtype `saved` is one of `stored`, too."""
    try:
        return bool(np.can_cast(np.dtype(saved), np.dtype(stored)))
    except TypeError:
        return False
