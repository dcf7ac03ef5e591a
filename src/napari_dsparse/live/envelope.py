"""Identity of the jobs of the worker threads, and of their answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Envelope:
    """Identity of a job; repeated by every event that answers it.

    Parameters
    ----------
    image : int
        Number of the chosen image, counted up at every choice; 0 if the job concerns none in particular.
    job : int
        Number of the job, counted up.
    worker : int
        Number of the thread it was meant for, counted up whenever threads are dismissed.
    """

    image: int
    job: int
    worker: int
