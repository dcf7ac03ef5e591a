"""Text that Qt shows as it is: names in files may look like HTML, which Qt would otherwise render."""

from __future__ import annotations

import html


def plain(text: str) -> str:
    """`text` for tooltips and message boxes, which guess whether they are given HTML."""
    return f"<qt>{html.escape(text)}</qt>" if "<" in text else text
