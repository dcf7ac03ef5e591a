"""The summary of a batch: lines for a table, to be copied and saved."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from napari_dsparse.batch.pace import duration
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.gui.widgets.batch_table import BatchRow, Stage
from napari_dsparse.live.batch_thread import ImageEnded

HEADINGS = ("image", "result", "files or reason", "remarks", "seconds")

_ORDER = {
    Stage.DONE: "segmented",
    Stage.FAILED: "failed",
    Stage.SKIPPED: "skipped",
    Stage.CANCELLED: "cancelled",
    Stage.WAITING: "not begun",
}


def row_of(name: str, place: str, ended: ImageEnded) -> BatchRow:
    """The row of an image that has come to its end."""
    written = ", ".join(path.name for path in ended.written)
    if ended.stopped:
        words = [f"{written} written before" if written else "nothing written"]
        words += ["what was computed is kept, to go on from"] if ended.kept else []
        return BatchRow(name, place, Stage.CANCELLED, "; ".join(words))
    if ended.problem is not None:
        before = f" ({written} had been written)" if written else ""
        return BatchRow(name, place, Stage.FAILED, ended.problem + before)
    files = "1 file" if len(ended.written) == 1 else f"{len(ended.written)} files"
    text = " ".join([f"{files} in {duration(ended.seconds)}.", *ended.remarks])
    return BatchRow(name, place, Stage.DONE, text, detail=f"({written})")


def told(rows: Sequence[BatchRow]) -> str:
    """Counts of images by their end, such as "4 segmented, 1 failed"."""
    count = Counter(row.stage for row in rows)
    return ", ".join(f"{count[stage]} {word}" for stage, word in _ORDER.items() if count[stage])


def table_of(
    rows: Sequence[BatchRow], ended: dict[int, ImageEnded], *, tabs: bool = False, model: str = ""
) -> str:
    """The summary as CSV, or with tabs for pasting; paths in full.

    Parameters
    ----------
    rows : sequence of BatchRow
    ended : dict of int to ImageEnded
        By number of the row, where the batch got so far.
    tabs : bool
    model : str
        The model, for a line of its own at the end.
    """
    text = io.StringIO()
    writer = csv.writer(text, dialect="excel-tab" if tabs else "excel", lineterminator="\n")
    writer.writerow(HEADINGS)
    for number, row in enumerate(rows):
        end = ended.get(number)
        files = "; ".join(map(str, end.written)) if end is not None and end.problem is None else row.text
        writer.writerow(
            (
                row.place if row.place != "an open layer" else row.name,
                _ORDER.get(row.stage, row.stage.value),
                files or row.text,
                " ".join(end.remarks) if end is not None else "",
                "" if end is None else f"{end.seconds:.1f}",
            )
        )
    if model:
        writer.writerow(("model", model, "", "", ""))
    return text.getvalue()


def save_table(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a summary.

    Raises
    ------
    ExportError
        If the file exists and may not be replaced, or cannot be written.
    """
    with complete_or_absent(path, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")
