"""Division of an image among workers that come and go: a run of neighbouring tiles for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from napari_dsparse.prediction.pieces import Piece
from napari_dsparse.prediction.tiles import Tile

#: Pieces per thread that the rest of a run is cut to: the first are large, the last are single tiles, so that
#: all workers are done at about the same time.
PER_THREAD = 4
#: Most pixels of a piece, which bounds what is sent and returned, and lost with a worker.
MOST_PIXELS = 6_000_000
#: Fewest tiles of a run of which another worker takes half: it computes all their surroundings anew.
LEAST_SHARED = 4


class Runs:
    """Tiles in order, of which each worker takes one piece after another.

    Each goes on where its last piece has ended, and so knows most of the surroundings already. One that is
    through takes the latter half of the longest run of another.

    Parameters
    ----------
    tiles : sequence of Tile
        In the order of `in_bands`.
    """

    def __init__(self, tiles: Sequence[Tile]) -> None:
        self._free = [deque(tiles)] if tiles else []
        self._own: dict[str, deque[Tile]] = {}

    def __len__(self) -> int:
        """Number of tiles that nobody has taken."""
        return sum(map(len, (*self._free, *self._own.values())))

    def take(self, worker: str, threads: Mapping[str, int]) -> Piece | None:
        """The next piece for a worker; None if what is left is not worth sharing with it.

        Parameters
        ----------
        worker : str
        threads : mapping of str to int
            Threads of all workers there are, this one among them.
        """
        for gone in self._own.keys() - threads.keys():
            self._free += [run for run in [self._own.pop(gone)] if run]
        run = self._own.get(worker) or self._new_run(worker, threads)
        if not run:
            return None
        self._own[worker] = run
        return Piece(tuple(run.popleft() for _ in range(_length(run, threads[worker]))))

    def _new_run(self, worker: str, threads: Mapping[str, int]) -> deque[Tile]:
        """A fair share of what belongs to nobody, or the latter half of the longest run."""
        if not self._free:
            longest = max(self._own.values(), key=len, default=deque())
            shared = len(longest) // 2 if len(longest) >= LEAST_SHARED else 0
            return deque(reversed([longest.pop() for _ in range(shared)]))
        idle = sum(number for name, number in threads.items() if not self._own.get(name))
        fair = max(1, round(sum(map(len, self._free)) * threads[worker] / idle))
        longest = max(self._free, key=len)
        run = deque(longest.popleft() for _ in range(min(fair, len(longest))))
        if not longest:
            self._free.remove(longest)
        return run


def _length(run: Sequence[Tile], threads: int) -> int:
    """Tiles of a run's next piece: an even part of its row, or whole rows."""
    first = run[0]
    row = _row_length(run, 0)
    wanted = max(1, min(len(run) // (PER_THREAD * threads), MOST_PIXELS // first.pixels))
    if wanted < row:
        return -(-row // -(-row // wanted))
    length = row
    while length < len(run) and run[length].plane == first.plane and run[length].columns == first.columns:
        row = _row_length(run, length)
        if length + row > wanted:
            break
        length += row
    return length


def _row_length(run: Sequence[Tile], start: int) -> int:
    """Number of tiles beside one another from a place in a run on."""
    stop = start
    while stop < len(run) and (run[stop].plane, run[stop].rows) == (run[start].plane, run[start].rows):
        stop += 1
    return stop - start
