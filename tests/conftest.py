"""Fixtures used by several test modules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read when torch loads its OpenMP: waiting threads sleep, so that a busy machine is slow and not at a halt.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What was measured on a machine must not decide whether tests pass; those that mean another plan say so.
os.environ.setdefault("DSPARSE_PLAN", "rule")

from cuda_host.fixtures import host_library, shim  # noqa: F401

#: Folder with open image sets, larger than what may be bundled; tests that need it skip where it is absent.
DATA = Path(os.environ.get("DSPARSE_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def open_data() -> Path:
    """Folder of open data sets, ``<set>/image_00.png`` and ``<set>/label_00.png``."""
    if not DATA.is_dir():
        pytest.skip(f"the open data sets are not at {DATA}; say where they are with DSPARSE_DATA")
    return DATA
