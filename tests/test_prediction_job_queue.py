"""Workers are started as jobs of a queue, by the configuration of dask-jobqueue in a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from classifiers import classifier_for
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction import Predictor, predict_image
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor

pytest.importorskip("distributed", reason="dask.distributed (extra `cluster`) is not installed")
pytest.importorskip("dask_jobqueue", reason="dask-jobqueue (extra `cluster`) is not installed")


def test_jobs_compute_the_bytes_of_one_machine_and_are_ended(tmp_path: Path) -> None:
    file = tmp_path / "queue.yaml"
    file.write_text(
        "jobs: 2\njobqueue: {local: {cores: 1, memory: 2GB, worker-extra-args: ['--no-dashboard']}}\n"
    )
    classifier = classifier_for()
    source = ImageSource(np.random.default_rng(0).normal(10, 3, (4, 60, 50)).astype(np.float32))
    lines: list[str] = []
    with Cluster(str(file), wait=120, say=lines.append) as cluster:
        pids = set(cluster._client.run(os.getpid).values())
        there = predict_image(ClusterPredictor(classifier, cluster), source, probabilities=True)
    here = predict_image(Predictor(classifier), source, probabilities=True)
    assert there.labels.tobytes() == here.labels.tobytes()
    assert there.probabilities is not None
    assert here.probabilities is not None
    assert there.probabilities.tobytes() == here.probabilities.tobytes()
    assert lines[0] == "Submitted 2 jobs for local."
    assert os.getpid() not in pids
    assert pids


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("jobqueue: [", "is no YAML"),
        ("- 1", "must hold 'jobqueue'"),
        ("jobqueue: {slurm: {cores: 1}, pbs: {cores: 1}}", "with one queue"),
        ("jobqueue: {slurm: {cores: 1}}\nworkers: 3", "'jobs' if wanted"),
        ("jobqueue: {cron: {cores: 1}}", "names the queue 'cron'; give the options of one of slurm, pbs"),
        ("jobqueue: {slurm: 8}", "names the queue 'slurm'"),
        ("jobs: 0\njobqueue: {local: {cores: 1, memory: 1GB}}", "says jobs: 0; give a whole number"),
        ("jobs: true\njobqueue: {local: {cores: 1, memory: 1GB}}", "says jobs: True"),
        (
            "jobqueue: {local: {cores: 1, memory: 1GB, nodes: 4}}",
            "options nodes, which dask-jobqueue",
        ),
        ("jobqueue: {local: {memory: 1GB}}", "dask-jobqueue refuses the file .* cores"),
        ("jobqueue: {slurm: {cores: 1, memory: 1GB}}", "submitted by 'sbatch', which is not found here"),
    ],
)
def test_other_files_are_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, told: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "queue.yml"
    file.write_text(content)
    with pytest.raises(DsparseError, match=told) as raised, Cluster(str(file)):
        pass
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(DsparseError, match=r"File .*none\.yaml' cannot be read"),
        Cluster(str(tmp_path / "none.yaml")),
    ):
        pass
