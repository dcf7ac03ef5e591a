"""Fixtures used by several test modules."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Read when torch loads its OpenMP: waiting threads sleep, so that a busy machine is slow and not at a halt.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What was measured on a machine must not decide whether tests pass; those that mean another plan say so.
os.environ.setdefault("DSPARSE_PLAN", "rule")

# Strokes that tests leave unsaved are no business of whoever runs them.
os.environ["DSPARSE_USER_DATA"] = tempfile.mkdtemp(prefix="dsparse-tests-")

# As script/test runs two processes side by side: a screen and settings of napari for each. One that replaces
# another has a number of its own.
if "PYTEST_XDIST_WORKER" in os.environ and "DSPARSE_SCREENS" in os.environ:
    worker, screens = os.environ["PYTEST_XDIST_WORKER"], os.environ["DSPARSE_SCREENS"].split()
    os.environ["DISPLAY"] = screens[int(worker.removeprefix("gw")) % len(screens)]
    os.environ["XDG_CONFIG_HOME"] = os.path.join(os.environ["XDG_CONFIG_HOME"], worker)

from cuda_host.fixtures import host_library, shim  # noqa: F401

# The first example of a test may load what it tests, on a machine that is busy.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

#: Folder with open image sets, larger than what may be bundled; tests that need it skip where it is absent.
DATA = Path(os.environ.get("DSPARSE_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def open_data() -> Path:
    """Folder of open data sets, ``<set>/image_00.png`` and ``<set>/label_00.png``."""
    if not DATA.is_dir():
        pytest.skip(f"the open data sets are not at {DATA}; say where they are with DSPARSE_DATA")
    return DATA


@pytest.fixture
def long_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of gradient steps last until they are stopped."""
    from napari_dsparse.training import Trainer

    train_more = Trainer.train_more
    monkeypatch.setattr(Trainer, "train_more", lambda self: train_more(self, steps=100_000))


@pytest.fixture
def user_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of this test alone."""
    monkeypatch.setenv("DSPARSE_USER_DATA", str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def desk(make_napari_viewer_proxy: Any, qtbot: Any, request: Any, user_data: Path) -> Iterator[Any]:
    """Opens the dock over images in napari; see `gui_session.open_desks`."""
    from gui_session import open_desks  # napari and Qt only where a test needs them

    yield from open_desks(make_napari_viewer_proxy, qtbot, request)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command in this process."""

    from command_line import Ran
    from napari_dsparse.cli import main

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first what is marked so; everything else stays in its order."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)
