"""TIFFs whose compression alters values, told by TIFF's codes and, where one of them stands for both kinds,
by the first bytes of what is compressed."""

from __future__ import annotations

import struct
from typing import Any

#: JPEG, by its old, its new and two cameras' codes.
_JPEG = (6, 7, 33007, 34892)
#: JPEG 2000, by the codes of Bio-Formats, Leica and Aperio.
_JPEG2000 = (33003, 33004, 33005, 34712)
_JPEG_XL = (50002, 52546)
_LERC = 34887
#: Compressions of which it is not looked up: JPEG XR, Jetraw, Pixar's and SGI's for pictures.
_TAKEN_FOR_LOSSY = (22610, 34934, 48124, 32908, 32909, 34676, 34677)

#: Bytes of a strip or tile in which its head stands.
_HEAD = 1 << 16

#: Frames of JPEG that keep every value.
_LOSSLESS_FRAMES = (0xC3, 0xC7, 0xCB, 0xCF)


def is_lossy(page: Any) -> bool:
    """True if values of a page, a `tifffile.TiffPage`, may differ from those that were saved."""
    code = int(page.compression)
    if code in _TAKEN_FOR_LOSSY:
        return True
    head = _first_bytes(page)
    if not head:
        return False
    if code in _JPEG:
        return _jpeg_is_lossy(head)
    if code in _JPEG2000:
        return _jpeg2000_is_lossy(head)
    if code in _JPEG_XL:
        return _jpeg_xl_is_lossy(head)
    return code == _LERC and _lerc_is_lossy(head)


def _first_bytes(page: Any) -> bytes:
    """Beginning of the first strip or tile that was written."""
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if offset and count:
            with open(page.parent.filehandle.path, "rb") as file:
                file.seek(offset)
                return file.read(min(count, _HEAD))
    return b""


def _jpeg_is_lossy(head: bytes) -> bool:
    """By the kind of the frame, whose marker follows those of tables."""
    place = 2
    while place + 4 <= len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker not in _LOSSLESS_FRAMES
        place += 2 + length
    return True


def _jpeg2000_is_lossy(head: bytes) -> bool:
    """By the wavelet: the one of whole numbers keeps every value, unless the file was cut."""
    place = head.find(b"\xff\x52")
    return not 0 <= place < len(head) - 13 or head[place + 13] == 0


def _jpeg_xl_is_lossy(head: bytes) -> bool:
    """By the colours: those of the eye (XYB) are what lossy files have."""
    begin = head.find(b"\xff\x0a")
    if begin < 0:
        return True
    bits = _Bits(head[begin + 2 : begin + 66])
    _skip_size(bits)
    if bits.take(1):  # all is as usual, in XYB
        return True
    if bits.take(1):  # orientation, previews, animation: no label image
        return True
    if bits.take(1):  # floats
        bits.choose((0, 0, 0, 6))
        bits.take(4)
    else:
        bits.choose((0, 0, 0, 6))
    bits.take(1)  # 16 bits are enough
    if bits.take(2):  # further channels
        return True
    return bits.take(1) == 1


def _skip_size(bits: _Bits) -> None:
    """Pass over the number of rows and columns."""
    eighths = bits.take(1)
    for is_rows in (True, False):
        if eighths:
            bits.take(5)
        else:
            bits.choose((9, 13, 18, 30))
        if is_rows and bits.take(3):  # columns follow from them, by a usual ratio
            return


class _Bits:
    """Bits of JPEG XL, the lowest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._left = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        """The next bits as a number."""
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value

    def choose(self, widths: tuple[int, int, int, int]) -> int:
        """A number as wide as two bits before it choose."""
        return self.take(widths[self.take(2)])


def _lerc_is_lossy(head: bytes) -> bool:
    """By the error that it allows; whole numbers are kept by half of one."""
    if not head.startswith(b"Lerc2 "):
        return False  # compressed once more
    version = struct.unpack_from("<i", head, 6)[0]
    place = 10 + 6 * 4 + 4 * (version >= 3) + 4 * (version >= 4) + 8 * (version >= 6)
    return bool(len(head) >= place + 8 and struct.unpack_from("<d", head, place)[0] > 0.5)
