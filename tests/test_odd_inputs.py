"""Whatever is given, what comes is right or one clear sentence: never a traceback, never silence."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import odd_inputs as odd

import napari_dsparse as nd
from napari_dsparse.cli import main

CLEAR = nd.DsparseError


def check(call: Any, told: str) -> Any:
    """Run `call`, which does what was asked ("right"), or says `told` in one line."""
    if told == "right":
        return call()
    with pytest.raises(CLEAR) as caught:
        call()
    said = str(caught.value)
    assert told in said
    assert "\n" not in said
    assert len(said) < 500
    return None


def named(table: list[Any]) -> list[Any]:
    """Rows of a table with their number as name: their values have none that fits."""
    return [pytest.param(*row, id=str(number)) for number, row in enumerate(table)]


@pytest.fixture(scope="module")
def model() -> nd.Model:
    return nd.train(odd.IMAGE, odd.STROKES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: nd.Model) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    np.save(folder / "image.npy", odd.IMAGE)
    np.save(folder / "strokes.npy", odd.STROKES)
    model.save(folder / "model.safetensors")
    return folder


def test_the_table_is_as_long_as_it_says() -> None:
    tables = (odd.TRAIN, odd.PAIRS, odd.PATHS, odd.PATHS, odd.PREDICT, odd.OPTIONS, odd.MEASURE, odd.COMMANDS)
    assert sum(map(len, tables)) >= 180


@pytest.mark.parametrize(("argument", "value", "told"), named(odd.TRAIN))
def test_arguments_of_train(argument: str, value: Any, told: str, tmp_path: Path) -> None:
    model = check(lambda: nd.train(odd.IMAGE, odd.STROKES, **{argument: value}), told)
    if model is not None:  # what was learned can be saved, and what was saved loads
        again = nd.load_model(model.save(tmp_path / "m.safetensors"))
        assert again.classes == model.classes
        np.testing.assert_array_equal(again.predict(odd.IMAGE), model.predict(odd.IMAGE))


@pytest.mark.parametrize(("what", "image", "labels", "told"), named(odd.PAIRS))
def test_images_and_labels_to_train_on(what: str, image: Any, labels: Any, told: str) -> None:
    model = check(lambda: nd.train(image, labels), told)
    if model is not None and what != "constant":
        found = model.predict(image[0] if isinstance(image, list) else image)
        assert (found[:, 40:] == 2).mean() > 0.9
        assert (found[:, :24] == 1).mean() > 0.9


@pytest.mark.parametrize(("path", "saved", "loaded"), named(odd.PATHS))
def test_names_of_files(path: Any, saved: str, loaded: str, model: nd.Model, tmp_path: Path) -> None:
    given = path.replace("{folder}", str(tmp_path)) if isinstance(path, str) else path
    check(lambda: nd.load_model(given), loaded)
    check(lambda: model.save(given), saved)
    assert len(list(tmp_path.iterdir())) == (saved == "right")


@pytest.mark.parametrize(("what", "image", "told"), named(odd.PREDICT))
def test_images_to_predict(what: str, image: Any, told: str, model: nd.Model) -> None:
    found = check(lambda: model.predict(image), told)
    if found is not None:
        assert found.shape == image.shape
        assert set(np.unique(found)) <= {1, 2}


@pytest.mark.parametrize(("method", "options", "told"), named(odd.OPTIONS))
def test_options_of_a_model(method: str, options: dict[str, Any], told: str, model: nd.Model) -> None:
    check(lambda: getattr(model, method)(odd.IMAGE, **options), told)


@pytest.mark.parametrize(("what", "given", "options", "told"), named(odd.MEASURE))
def test_arguments_of_measure(what: str, given: tuple[Any, ...], options: dict[str, Any], told: str) -> None:
    check(lambda: nd.measure(*given, **options), told)


@pytest.mark.parametrize(("line", "code", "told"), named(odd.COMMANDS))
def test_command_lines(
    line: str,
    code: int,
    told: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        ended = main(shlex.split(line.format(folder=folder)))
    except SystemExit as exit_:
        ended = int(exit_.code or 0)
    said = capsys.readouterr()
    assert ended == code
    assert told in (said.out if code == 0 else said.err)
    assert "Traceback" not in said.err
    if code:
        assert len(said.err.strip().splitlines()) == 1
        assert not list(tmp_path.iterdir())
