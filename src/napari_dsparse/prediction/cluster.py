"""The same tiles, the same bytes, computed by the workers of a dask scheduler.

The image is read here; every task carries one tile's pixels with their halo, so workers need neither the file
nor shared storage, and only as many tiles as keep them busy are on their way at a time.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dsparse.classifier import TrainedClassifier
from napari_dsparse.errors import DsparseError
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction.predictor import Predictor, TilePrediction
from napari_dsparse.prediction.tiles import Tile
from napari_dsparse.stopping import StopFlag, as_stop_callable

#: Tiles on their way for every thread of a worker: one that is computed, one that waits.
TILES_PER_THREAD = 2

#: Seconds to wait for the scheduler, and then for its first worker.
PATIENCE = 30


class ClusterPredictor:
    """`Predictor`, with the computing done by the workers of a dask scheduler.

    A context manager: the connection lives inside the `with` block.

    Parameters
    ----------
    classifier : TrainedClassifier
    address : str
        The scheduler's, such as ``tcp://host:8786``.
    device : str
        What each worker computes on: "auto", "cpu", "cuda", "cuda:1" or "mps".
    precision : str
        "float32" or "bfloat16"; see `Predictor`.

    Raises
    ------
    DsparseError
        On entering: if dask.distributed is not installed, the scheduler does not answer, has no workers, or
        they lack this version of the package.
    """

    def __init__(
        self,
        classifier: TrainedClassifier,
        address: str,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        self.classifier = classifier
        self._address = address
        self._setting = device, precision
        self._client: Any = None
        self._shared: Any = None  # the classifier, sent to every worker once
        self._token = uuid.uuid4().hex

    def __enter__(self) -> ClusterPredictor:
        with ExitStack() as until_ready:
            self._client = until_ready.enter_context(_connect(self._address))
            _check_workers(self._client, self._address)
            self._shared = self._client.scatter(self.classifier, broadcast=True, hash=False)
            until_ready.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def begin(self, source: ImageSource, tiles: Sequence[Tile]) -> None:
        """Tasks of a cluster share nothing: there is nothing to prepare."""

    def stream(
        self,
        source: ImageSource,
        tiles: Iterable[Tile],
        stop: StopFlag | Callable[[], bool] | None = None,
    ) -> Iterator[TilePrediction]:
        """Predictions of `tiles` in their order, until `stop` is set: asked between tiles.

        Raises
        ------
        ImageError
            If the image has other channels than those the classifier was trained on.
        DsparseError
            If workers die over a tile.
        """
        stopped = as_stop_callable(stop)
        underway: deque[Any] = deque()
        most = TILES_PER_THREAD * sum(self._client.nthreads().values())
        try:
            for tile in tiles:
                if stopped():
                    return
                underway.append(self._submit(source, tile))
                if len(underway) >= most:
                    yield _result(underway.popleft())
            while underway and not stopped():
                yield _result(underway.popleft())
        finally:
            self._client.cancel(list(underway))

    def _submit(self, source: ImageSource, tile: Tile) -> Any:
        pixels = source.read(tile.plane, *tile.window(self.classifier.spec.patch))
        return self._client.submit(
            _predict_block, self._shared, self._token, self._setting, pixels, tile, pure=False
        )


class _WorkerMemory(threading.local):
    """The predictor a worker's thread used last, so that a model is set up once and not for every tile."""

    token: str | None = None
    predictor: Predictor | None = None


_memory = _WorkerMemory()


def _predict_block(
    classifier: TrainedClassifier,
    token: str,
    setting: tuple[str, str],
    pixels: NDArray[np.float32],
    tile: Tile,
) -> TilePrediction:
    """Predict one tile; runs on a worker."""
    if _memory.predictor is None or _memory.token != token:
        device, precision = setting
        _memory.predictor, _memory.token = Predictor(classifier, device, precision=precision), token
    return _memory.predictor.block(np.array(pixels), tile)  # what arrives over the wire is read-only


def _installed_version() -> str:
    return version("napari-dsparse")


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise DsparseError(
            'Computing on a cluster needs dask.distributed; run pip install "napari-dsparse[cluster]".'
        ) from error
    try:
        return Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DsparseError(
            f"No dask scheduler answers at {address!r}; give the address that it prints when it starts, "
            "such as tcp://host:8786."
        ) from error


def _check_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise DsparseError(
            f"The scheduler at {address!r} has no workers after {PATIENCE} s; "
            f"start some with: dask worker {address}"
        ) from error
    ours = _installed_version()
    try:
        theirs = set(client.run(_installed_version).values())
    except ImportError as error:
        raise DsparseError(
            f"A worker of {address!r} lacks napari-dsparse; install version {ours} on every worker."
        ) from error
    if theirs != {ours}:
        raise DsparseError(
            f"The workers of {address!r} have napari-dsparse {', '.join(sorted(theirs))}, "
            f"but here is {ours}; install one version everywhere, or the tiles may differ."
        )


def _result(future: Any) -> TilePrediction:
    from distributed import KilledWorker

    try:
        prediction: TilePrediction = future.result()
    except KilledWorker as error:
        raise DsparseError(
            f"Several workers died over one tile ({error}); look at their logs, most often memory ran out."
        ) from error
    return prediction
