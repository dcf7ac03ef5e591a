"""A cluster computes the same tiles to the same bytes, whatever happens to its workers meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_dsparse import samples
from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError, ImageError
from napari_dsparse.images import ImageSource, resolve_image
from napari_dsparse.images.reading import read_image
from napari_dsparse.images.reference import ImageReference, OpenedImages
from napari_dsparse.prediction import (
    Prediction,
    Predictor,
    blocks,
    cluster,
    cluster_predictor,
    pieces,
    plan_tiles,
    predict_image,
    runs,
    tiles,
)
from napari_dsparse.prediction.cluster import Cluster
from napari_dsparse.prediction.cluster_predictor import ClusterPredictor, window
from napari_dsparse.training import train_classifier

distributed = pytest.importorskip("distributed", reason="dask.distributed (extra `cluster`) is not installed")
import dask.config  # noqa: E402  (comes with it)

PLANES = 10


@contextmanager
def local_cluster(n_workers: int, **options: Any) -> Iterator[Any]:
    """A scheduler and workers of one thread, reached over TCP: in this process unless `processes` is set."""
    options = {"processes": False, "memory_limit": None, **options}
    with (
        dask.config.set(cluster.SHARED_CORES),
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            protocol="tcp://",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
            **options,
        ) as local,
    ):
        yield local


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers in this process."""
    with local_cluster(2) as local:
        yield local.scheduler_address


@pytest.fixture(scope="module")
def two_processes() -> Iterator[Any]:
    with local_cluster(2, processes=True) as local:
        yield local


@pytest.fixture
def nannies(two_processes: Any) -> Any:
    """A cluster of two processes, each watched by one that starts it again when it ends."""
    two_processes.wait_for_workers(2, timeout=180)
    return two_processes


@pytest.fixture(scope="module")
def classifier() -> TrainedClassifier:
    sample = samples.load("tissue")
    return train_classifier([sample.image], [sample.strokes], steps=3, hold_out=False)


@pytest.fixture(scope="module")
def source() -> ImageSource:
    """Colour planes of one tile each."""
    tissue = samples.load("tissue").image
    return resolve_image(np.stack([tissue[z : z + 60, :70] for z in range(PLANES)]), channels=3)


@pytest.fixture(scope="module")
def expected(classifier: TrainedClassifier, source: ImageSource) -> Prediction:
    """Prediction of `source` by one machine."""
    return predict_image(Predictor(classifier), source, probabilities=True, uncertainty=True)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short."""
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    monkeypatch.setattr(cluster, "ASK_EVERY", 0.1)


class Meanwhile:
    """A predictor that does something once, after the first tile has arrived."""

    def __init__(self, predictor: ClusterPredictor, act: Callable[[], None]) -> None:
        self.classifier, self._predictor, self._act = predictor.classifier, predictor, act

    def begin(self, *arguments: Any) -> None:
        self._predictor.begin(*arguments)

    def stream(self, *arguments: Any) -> Iterator[Any]:
        for number, prediction in enumerate(self._predictor.stream(*arguments)):
            if number == 0:
                self._act()
            yield prediction


def predict_while(
    act: Callable[[], None], predictor: ClusterPredictor, source: ImageSource, expected: Prediction
) -> None:
    """Predict an image, with something happening meanwhile, to the bytes of one machine."""
    assert_same_bytes(
        predict_image(Meanwhile(predictor, act), source, probabilities=True, uncertainty=True), expected
    )


def assert_same_bytes(there: Prediction, here: Prediction) -> None:
    for name in ("labels", "probabilities", "uncertainty"):
        theirs, ours = getattr(there, name), getattr(here, name)
        assert theirs.dtype == ours.dtype
        assert theirs.tobytes() == ours.tobytes()


def kill(local: Any, number: int) -> None:
    """End some of the processes of workers at once, as the system does when memory runs out."""
    with distributed.Client(local.scheduler_address, set_as_default=False) as client:
        for pid in list(client.run(os.getpid).values())[:number]:
            os.kill(pid, signal.SIGKILL)


def test_all_maps_are_byte_for_byte_those_of_one_machine(
    scheduler: str, classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    shares: list[float] = []
    with Cluster(scheduler) as opened:
        there = predict_image(
            ClusterPredictor(classifier, opened),
            source,
            probabilities=True,
            uncertainty=True,
            progress=shares.append,
        )
    assert_same_bytes(there, expected)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_tiles_that_travel_together_are_those_of_one_machine_too(
    scheduler: str, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles, "TILE_INPUT", classifier.spec.patch - 1 + 60)
    monkeypatch.setattr(blocks, "BLOCK", 100)
    monkeypatch.setattr(runs, "PER_THREAD", 1)
    image = resolve_image(samples.load("tissue").image[:170, :230], channels=3)
    here = predict_image(Predictor(classifier), image, probabilities=True, uncertainty=True)
    asked: list[int] = []
    submit = Cluster.submit

    def counted(opened: Cluster, function: Any, job: pieces.Job, worker: str) -> Any:
        asked.append(len(job.tiles))
        return submit(opened, function, job, worker)

    monkeypatch.setattr(Cluster, "submit", counted)
    with Cluster(scheduler) as opened:
        there = predict_image(
            ClusterPredictor(classifier, opened), image, probabilities=True, uncertainty=True
        )
    assert_same_bytes(there, here)
    assert sum(asked) == 12
    assert max(asked) == 6


def test_part_of_an_image_has_the_bytes_that_the_whole_has(
    scheduler: str, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles, "TILE_INPUT", classifier.spec.patch - 1 + 60)
    monkeypatch.setattr(blocks, "BLOCK", 100)
    image = resolve_image(samples.load("tissue").image[:110, :170], channels=3)
    plan = plan_tiles(image.shape, classifier.spec)
    here = {found.tile: found for found in Predictor(classifier).stream(image, plan)}
    grids = []
    submit = Cluster.submit

    def noted(opened: Cluster, function: Any, job: pieces.Job, worker: str) -> Any:
        grids.append(len(job.grid.columns))
        return submit(opened, function, job, worker)

    monkeypatch.setattr(Cluster, "submit", noted)
    with Cluster(scheduler) as opened:
        there = ClusterPredictor(classifier, opened)
        there.begin(image, plan)
        found = list(there.stream(image, plan[-1:]))
    assert [one.tile for one in found] == list(plan[-1:])
    for name in ("labels", "probabilities", "uncertainty"):
        assert found[0].value(name).tobytes() == here[plan[-1]].value(name).tobytes()
    assert grids == [len(blocks.BlockGrid.over(plan, classifier.spec.block_halo).columns)]


def test_few_pieces_are_shared_out_to_all_workers(
    scheduler: str, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles, "TILE_INPUT", classifier.spec.patch - 1 + 60)
    monkeypatch.setattr(blocks, "BLOCK", 40)
    image = resolve_image(samples.load("tissue").image[:240, :60], channels=3)
    assert len(plan_tiles(image.shape, classifier.spec)) == 4
    with Cluster(scheduler) as opened:
        submitted: list[str] = []
        submit = opened.submit
        monkeypatch.setattr(
            opened, "submit", lambda do, job, worker: submitted.append(worker) or submit(do, job, worker)
        )
        predict_image(ClusterPredictor(classifier, opened), image)
    assert sorted(Counter(submitted).values()) == [2, 2]


def test_only_a_bounded_number_of_pieces_is_read_ahead_and_none_is_kept(
    scheduler: str, classifier: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = np.random.default_rng(0).normal(100, 30, (24, 30, 30, 3)).astype(np.float32)
    source = resolve_image(
        planes, channels=3
    )  # float32 travels as it is read, so that arrays can be followed
    arrays: list[weakref.ref[Any]] = []
    ahead: list[int] = []
    kept: list[int] = []
    read, reads, came = ImageSource.read, 0, 0

    def followed(image: ImageSource, *window: Any) -> Any:
        nonlocal reads
        pixels = read(image, *window)
        if image is source:  # workers in this process read as well
            reads += 1
            arrays.append(weakref.ref(pixels))
            ahead.append(reads - came)
            kept.append(sum(array() is not None for array in arrays))
        return pixels

    monkeypatch.setattr(ImageSource, "read", followed)
    with Cluster(scheduler) as opened:
        for _ in ClusterPredictor(classifier, opened).stream(
            source, plan_tiles(source.shape, classifier.spec)
        ):
            came += 1
    assert came == len(planes)
    assert max(ahead) == window({"one": 1, "other": 1}) < len(planes)
    assert max(kept) <= window({"one": 1, "other": 1}) + 1


def test_the_window_follows_the_workers(
    classifier: TrainedClassifier,
    source: ImageSource,
    expected: Prediction,
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = came = 0
    most = {1: 0, 3: 0}
    workers = 1
    submit = Cluster.submit

    def counted(opened: Cluster, function: Any, job: pieces.Job, worker: str) -> Any:
        nonlocal asked
        asked += 1
        most[workers] = max(most[workers], asked - came)
        return submit(opened, function, job, worker)

    monkeypatch.setattr(Cluster, "submit", counted)
    monkeypatch.setattr(cluster, "ASK_EVERY", 0.0)
    with local_cluster(1) as local, Cluster(local.scheduler_address) as opened:

        def join() -> None:
            nonlocal workers
            local.scale(3)
            local.wait_for_workers(3)
            workers = 3

        class Counting(ClusterPredictor):
            def stream(self, *arguments: Any) -> Iterator[Any]:
                nonlocal came
                for prediction in super().stream(*arguments):
                    came += 1
                    yield prediction

        predict_while(join, Counting(classifier, opened), source, expected)
    assert most[1] == window({"one": 1})
    assert most[1] < most[3] <= window({"one": 1, "two": 1, "three": 1})


def test_one_of_two_workers_is_killed(
    nannies: Any, classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    with Cluster(nannies.scheduler_address) as opened:
        predict_while(lambda: kill(nannies, 1), ClusterPredictor(classifier, opened), source, expected)


def test_all_workers_are_killed_and_their_nannies_start_new_ones(
    nannies: Any, classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    with Cluster(nannies.scheduler_address) as opened:
        predict_while(lambda: kill(nannies, 2), ClusterPredictor(classifier, opened), source, expected)


def test_tasks_that_the_scheduler_forgets_are_sent_again(
    scheduler: str,
    classifier: TrainedClassifier,
    source: ImageSource,
    expected: Prediction,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit, sent = Cluster.submit, 0

    def forgotten_at_first(opened: Cluster, function: Any, job: pieces.Job, worker: str) -> Any:
        nonlocal sent
        future = submit(opened, function, job, worker)
        sent += 1
        if sent < cluster_predictor.MOST_LOSSES:
            future.cancel()
        return future

    monkeypatch.setattr(Cluster, "submit", forgotten_at_first)
    with Cluster(scheduler) as opened:
        predict_while(lambda: None, ClusterPredictor(classifier, opened), source, expected)
    assert sent == PLANES + cluster_predictor.MOST_LOSSES - 1


def test_the_only_worker_is_killed_and_another_one_comes(
    classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    killed: list[float] = []
    told: list[float] = []
    with ExitStack() as workers, local_cluster(0) as local:
        first = workers.enter_context(worker_process(local))

        def replace(line: str) -> None:
            if "all its workers are gone" in line:
                told.append(time.monotonic())
                workers.enter_context(worker_process(local))

        def kill_it() -> None:
            time.sleep(1)  # several pieces are done, and their results still there
            first.kill()
            killed.append(time.monotonic())

        with Cluster(local.scheduler_address, say=replace) as opened:
            predict_while(kill_it, ClusterPredictor(classifier, opened), source, expected)
    assert len(told) == 1
    assert told[0] - killed[0] < 0.5 * cluster.FETCH_WITHIN


@contextmanager
def worker_process(local: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that nobody starts again."""
    command = "-m", "distributed.cli.dask_worker", local.scheduler_address
    started = subprocess.Popen(
        [sys.executable, *command, "--no-nanny", "--nthreads", "1", "--no-dashboard"],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_tasks_that_are_cancelled_again_and_again_are_given_up(
    scheduler: str, classifier: TrainedClassifier, source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Cluster.submit

    def cancelled(opened: Cluster, function: Any, job: pieces.Job, worker: str) -> Any:
        future = submit(opened, function, job, worker)
        future.cancel()
        return future

    monkeypatch.setattr(Cluster, "submit", cancelled)
    with (
        pytest.raises(DsparseError, match=r"plane \d, rows 0 to 60, columns 0 to 70 were lost 3 times"),
        Cluster(scheduler) as opened,
    ):
        predict_image(ClusterPredictor(classifier, opened), source)


def test_a_piece_that_ends_its_workers_is_named(
    nannies: Any, classifier: TrainedClassifier, source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_predictor, "do_job", die)
    with (
        distributed.Client(nannies.scheduler_address, set_as_default=False) as client,
        Cluster(nannies.scheduler_address) as opened,
    ):
        client.run_on_scheduler(allow_no_failure)
        try:
            with pytest.raises(
                DsparseError, match=r"plane \d, rows 0 to 60, .* ended every worker .* memory"
            ):
                predict_image(ClusterPredictor(classifier, opened), source)
        finally:
            client.run_on_scheduler(allow_no_failure, number=3)


def die(job: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def allow_no_failure(dask_scheduler: Any, number: int = 0) -> None:
    dask_scheduler.allowed_failures = number


def test_a_scheduler_that_ends_is_said_in_one_sentence(
    classifier: TrainedClassifier,
    source: ImageSource,
    expected: Prediction,
    hasty: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended: list[float] = []

    with local_cluster(1) as local:

        def end() -> None:
            local.close()
            ended.append(time.monotonic())

        with (
            pytest.raises(DsparseError, match="has ended, or cannot be reached any more; start it"),
            Cluster(local.scheduler_address) as opened,
        ):
            predict_while(end, ClusterPredictor(classifier, opened), source, expected)
        assert time.monotonic() - ended[0] < 20
    assert "reconnect" not in capfd.readouterr().err


def test_workers_that_stay_away_are_said_in_one_sentence(
    classifier: TrainedClassifier, source: ImageSource, expected: Prediction, hasty: None
) -> None:
    with (
        local_cluster(1) as local,
        pytest.raises(DsparseError, match=r"All workers .* are gone, and none came back within 1 s"),
        Cluster(local.scheduler_address) as opened,
    ):
        predict_while(lambda: local.scale(0), ClusterPredictor(classifier, opened), source, expected)


def test_a_first_worker_is_waited_for(
    classifier: TrainedClassifier, source: ImageSource, expected: Prediction, hasty: None
) -> None:
    with local_cluster(0) as local:
        lines: list[str] = []

        def say(line: str) -> None:
            lines.append(line)
            local.scale(1)  # as soon as it is said that one is waited for

        with Cluster(local.scheduler_address, wait=20, say=say) as opened:
            assert_same_bytes(
                predict_image(
                    ClusterPredictor(classifier, opened), source, probabilities=True, uncertainty=True
                ),
                expected,
            )
    assert lines == [f"Waiting up to 20 s for a first worker of {local.scheduler_address!r}."]


def test_no_worker_at_all_is_said_in_one_sentence() -> None:
    with (
        local_cluster(0) as local,
        pytest.raises(
            DsparseError, match=r"has no workers after 0\.3 s; start some with: dask worker tcp://"
        ),
        Cluster(local.scheduler_address, wait=0.3),
    ):
        pass


def test_local_starts_workers_on_this_machine_and_ends_them(
    classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    with Cluster("local") as opened:
        client = opened._client
        assert client.scheduler.address.startswith("tcp://127.0.0.1:")
        assert set(client.nthreads().values()) == {1}
        pids = list(client.run(os.getpid).values())
        assert os.getpid() not in pids
        there = predict_image(
            ClusterPredictor(classifier, opened), source, probabilities=True, uncertainty=True
        )
    assert_same_bytes(there, expected)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_file_that_a_scheduler_wrote_leads_to_it(
    tmp_path: Path, classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    file = tmp_path / "scheduler.json"
    with local_cluster(1, scheduler_kwargs={"scheduler_file": str(file)}), Cluster(str(file)) as opened:
        there = predict_image(
            ClusterPredictor(classifier, opened), source, probabilities=True, uncertainty=True
        )
    assert_same_bytes(there, expected)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89PNG\r\n", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b'["tcp://127.0.0.1:9"]', "it holds no address"),
        (json.dumps({"address": 9}).encode(), "it holds no address"),
        (json.dumps({"address": "somewhere"}).encode(), "it holds no address"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "scheduler.json"
    file.write_bytes(content)
    with (
        pytest.raises(DsparseError, match="was not written by a dask scheduler") as raised,
        Cluster(str(file)),
    ):
        pass
    assert told in str(raised.value)
    assert "tcp://host:8786" in str(raised.value)


@pytest.mark.parametrize("name", ["nowhere.json", "."])
def test_what_is_neither_an_address_nor_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DsparseError, match=f"{name!r} is neither an address nor a file"), Cluster(name):
        pass


def test_stop_is_heard(scheduler: str, classifier: TrainedClassifier, source: ImageSource) -> None:
    class AfterThree:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 3

    with Cluster(scheduler) as opened:
        found = predict_image(ClusterPredictor(classifier, opened), source, stop=AfterThree())
    assert 0 in found.labels


def test_wrong_channels_are_refused_as_on_one_machine(scheduler: str, classifier: TrainedClassifier) -> None:
    with pytest.raises(ImageError, match="channels"), Cluster(scheduler) as opened:
        predict_image(ClusterPredictor(classifier, opened), resolve_image(np.zeros((30, 30))))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "tcp://127.0.0.1:port"])
def test_missing_scheduler_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(cluster, "FOUND_WITHIN", 0.5)
    with pytest.raises(DsparseError, match=f"No dask scheduler answers at '{address}'"), Cluster(address):
        pass


def test_a_missing_scheduler_is_waited_for_as_long_as_is_said() -> None:
    address = "tcp://127.0.0.1:9"
    for wait, least, most in ((None, cluster.FOUND_WITHIN / 2, 25), (1.5, 0.7, 9)):
        started = time.monotonic()
        with pytest.raises(DsparseError, match=f"at '{address}' within .* s; "), Cluster(address, wait):
            pass
        assert least < time.monotonic() - started < most


def test_a_client_whose_own_thread_starts_too_late_is_made_again(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def late(*args: Any, **options: Any) -> Any:
        tried.append(args)
        if len(tried) == 1:
            raise AssertionError
        return client(*args, **options)

    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", late)
    with Cluster(scheduler) as opened:
        assert opened.threads()
    assert len(tried) == 2


def test_other_versions_on_the_workers_are_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter(["0.0.1", "0.0.1", "0.0.2", "0.0.2"])  # here, of the scheduler, then of each worker
    monkeypatch.setattr(pieces, "version", lambda name: next(versions))
    with (
        pytest.raises(DsparseError, match=r"have napari-dsparse 0\.0\.1, 0\.0\.2, but here is 0\.0\.1"),
        Cluster(scheduler),
    ):
        pass


def test_a_worker_of_another_version_that_joins_later_is_refused(
    scheduler: str, classifier: TrainedClassifier, source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cluster(scheduler) as opened:
        predictor = ClusterPredictor(classifier, opened)
        monkeypatch.setattr(pieces, "version", lambda name: "0.0.2")
        with pytest.raises(DsparseError, match=r"A worker on .* has napari-dsparse 0\.0\.2, but the version"):
            predict_image(predictor, source)


def test_a_worker_that_cannot_load_the_package_is_named(
    scheduler: str, classifier: TrainedClassifier, source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_predictor, "do_job", unloadable)
    with (
        pytest.raises(DsparseError, match=r"A worker cannot load napari-dsparse \(No module named 'gone'\)"),
        Cluster(scheduler) as opened,
    ):
        predict_image(ClusterPredictor(classifier, opened), source)


def unloadable(job: object) -> None:
    raise ModuleNotFoundError("No module named 'gone'")


def test_all_workers_are_restarted_by_somebody_else(
    nannies: Any, classifier: TrainedClassifier, source: ImageSource, expected: Prediction
) -> None:
    def restart() -> None:
        with distributed.Client(nannies.scheduler_address, set_as_default=False) as client:
            client.restart(timeout=180)

    with Cluster(nannies.scheduler_address) as opened:
        predict_while(restart, ClusterPredictor(classifier, opened), source, expected)


@pytest.fixture
def in_file(tmp_path: Path, source: ImageSource) -> ImageSource:
    """`source`, in a compressed TIFF of tiles."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, source.data, photometric="rgb", tile=(32, 32), compression="zlib")
    return read_image(path).source()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, pieces.Job]]:
    """The jobs that are submitted, with the worker each is meant for."""
    jobs: list[tuple[str, pieces.Job]] = []
    submit = Cluster.submit

    def noted(opened: Cluster, function: Any, job: pieces.Job, worker: str) -> Any:
        jobs.append((worker, job))
        return submit(opened, function, job, worker)

    monkeypatch.setattr(Cluster, "submit", noted)
    return jobs


def test_workers_that_see_the_file_read_it_themselves_and_one_of_them_is_killed(
    nannies: Any,
    classifier: TrainedClassifier,
    in_file: ImageSource,
    expected: Prediction,
    sent: list[tuple[str, pieces.Job]],
) -> None:
    with Cluster(nannies.scheduler_address) as opened:
        predict_while(lambda: kill(nannies, 1), ClusterPredictor(classifier, opened), in_file, expected)
    assert len(sent) >= PLANES
    assert all(isinstance(job.pixels, ImageReference) for _, job in sent)


def test_pixels_are_sent_to_a_worker_that_does_not_see_the_file(
    scheduler: str,
    classifier: TrainedClassifier,
    in_file: ImageSource,
    expected: Prediction,
    sent: list[tuple[str, pieces.Job]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    reading, blind = OpenedImages.reading, ""

    def unless_blind(self: OpenedImages, reference: ImageReference) -> Any:
        if pieces._own_address() == blind:
            raise ImageError("no such file")
        return reading(self, reference)

    monkeypatch.setattr(OpenedImages, "reading", unless_blind)
    with Cluster(scheduler, say=lines.append) as opened:
        blind = next(iter(opened.threads()))
        predictor = ClusterPredictor(classifier, opened)
        predict_while(lambda: None, predictor, in_file, expected)
        assert {to for to, job in sent if isinstance(job.pixels, ImageReference)} == set(opened.threads())
        assert any(to == blind and isinstance(job.pixels, np.ndarray) for to, job in sent)
        sent.clear()
        for found in predictor.stream(in_file, plan_tiles(in_file.shape, classifier.spec)[:4]):
            assert found.labels.tobytes() == expected.labels[found.tile.slices].tobytes()
    assert {(to == blind, type(job.pixels)) for to, job in sent} == {
        (True, np.ndarray),  # without asking it again
        (False, ImageReference),
    }
    (line,) = [line for line in lines if "stack.tif" in line]
    assert line.startswith("Workers on ")
    assert line.endswith(
        "stack.tif themselves (no such file); pixels of the files in its folder are sent to them."
    )


@pytest.mark.parametrize("where", ["workers", "here"])
@pytest.mark.parametrize("how", ["rewritten", "cut"])
def test_a_file_that_changes_meanwhile_ends_the_run(
    scheduler: str,
    classifier: TrainedClassifier,
    in_file: ImageSource,
    expected: Prediction,
    how: str,
    where: str,
) -> None:
    def change() -> None:
        assert in_file.origin is not None
        if how == "cut":
            os.truncate(in_file.origin.path, 500)
        else:
            os.utime(in_file.origin.path, (1, 1))

    written = r"Image 'stack\.tif' was written to while it was read"
    cut = r"Image 'stack\.tif' could not be read at plane .* too early"
    told = {
        ("rewritten", "here"): written,
        ("rewritten", "workers"): written,
        ("cut", "here"): cut,
        ("cut", "workers"): f"{cut}|{written}",  # by the planes that were looked at to know it again
    }
    with Cluster(scheduler) as opened:
        predictor: Any = {"workers": ClusterPredictor(classifier, opened), "here": Predictor(classifier)}[
            where
        ]
        with pytest.raises(ImageError, match=told[how, where]):
            predict_while(change, predictor, in_file, expected)
