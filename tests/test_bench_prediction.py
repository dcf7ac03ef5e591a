"""`python -m bench.prediction` runs to its end and prints a row for every network and precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import prediction

from napari_dsparse.machine.devices import PRECISIONS


def test_every_network_is_compared_in_every_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "SECONDS", 0.0)
    monkeypatch.setattr(prediction, "gemm_rate", lambda device, dtype: 1e9)
    monkeypatch.setattr(prediction, "label_agreement", lambda: iter([("nuclei", 1.0)]))
    output = tmp_path / "rows.json"
    prediction.main(["--quick", "--sizes", "222", "--device", "cpu", "--json", str(output)])
    rows = json.loads(output.read_text())["rows"]
    assert [(row["precision"], row["network"]) for row in rows] == [
        (precision, name) for precision in PRECISIONS for name in prediction.NETWORKS
    ]
    assert all(row["largest_difference"] < 1e-4 for row in rows if row["precision"] == "float32")
    assert all(sum(row["spent"].values()) == pytest.approx(1) for row in rows)
    assert capsys.readouterr().out.count("222 x 222") == 2 * len(rows)  # times, and what they are spent on
