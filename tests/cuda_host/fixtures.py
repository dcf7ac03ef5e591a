"""Fixtures of the tests that run kernels on the host."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuda_host import build
from cuda_host.shim import Shim
from napari_dsparse.ops.cuda import execution


@pytest.fixture(scope="session")
def host_library(request: pytest.FixtureRequest) -> Path:
    """All kernels compiled by g++; kept between test runs, for as long as no source changes."""
    if build.compiler() is None:
        pytest.skip("kernels run on the host where g++ is; install it")
    folder = request.config.cache.mkdir("cuda_host")
    library = folder / f"kernels-{build.digest()}.so"
    if not library.exists():
        scratch = Path(tempfile.mkdtemp(dir=folder))
        os.replace(build.build(scratch / "kernels.so", build.LIBRARY), library)
        shutil.rmtree(scratch)
    return library


@pytest.fixture
def shim(host_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shim]:
    """Launches of `napari_dsparse.ops.cuda` run on the host."""
    shim = Shim(host_library)
    monkeypatch.setattr(execution, "run", shim.run)
    monkeypatch.setattr(execution, "capability", shim.capability)
    return shim
