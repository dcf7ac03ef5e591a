"""A final name holds a complete result or the previous content, whatever happens during the write."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_dsparse.errors import ExportError
from napari_dsparse.files.atomic import complete_or_absent


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def write(
    final: Path, text: str, *, overwrite: bool = False, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Write a file, or a folder for a name that ends in .zarr; then something else happens."""
    with complete_or_absent(final, overwrite=overwrite) as partial:
        if final.suffix == ".zarr":
            write_store(partial, text)
        else:
            partial.write_text(text)
        meanwhile()


def fail(error: BaseException) -> Callable[[], None]:
    def failing() -> None:
        raise error

    return failing


def write_store(partial: Path, text: str) -> None:
    (partial / "0").mkdir(parents=True)
    (partial / "zarr.json").write_text(text)
    (partial / "0" / "chunk").write_text(text)


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    final = tmp_path / "labels.ome.tif"
    with complete_or_absent(final) as partial:
        assert partial.parent.parent == tmp_path
        assert partial.name == "labels.ome.tif"
        partial.write_text("new")
        assert not final.exists()
    assert contents(tmp_path) == {"labels.ome.tif": "new"}


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with complete_or_absent(tmp_path / "labels.zarr") as partial:
        write_store(partial, "new")
        assert not (tmp_path / "labels.zarr").exists()
    assert contents(tmp_path) == {"labels.zarr/zarr.json": "new", "labels.zarr/0/chunk": "new"}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, failure: type[BaseException], overwrite: bool, name: str
) -> None:
    with pytest.raises(failure):
        write(tmp_path / name, "half", overwrite=overwrite, meanwhile=fail(failure()))
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_a_failure_keeps_what_was_there(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "old")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="stop"):
        write(tmp_path / name, "half", overwrite=True, meanwhile=fail(ValueError("stop")))
    assert contents(tmp_path) == before


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ExportError, match="No space left") as caught:
        write(tmp_path / "a.tif", "half", meanwhile=fail(full))
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == {}


def test_an_existing_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("old")
    with pytest.raises(ExportError, match="already exists"), complete_or_absent(tmp_path / "a.tif"):
        pytest.fail("the block must not run")
    assert contents(tmp_path) == {"a.tif": "old"}


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    final = tmp_path / "a.tif"
    with pytest.raises(ExportError, match="already exists"):
        write(final, "ours", meanwhile=lambda: final.write_text("theirs"))
    assert contents(tmp_path) == {"a.tif": "theirs"}


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    final = tmp_path / "a.zarr"
    with pytest.raises(ExportError, match="already exists"):
        write(final, "ours", meanwhile=final.mkdir)
    assert list(tmp_path.iterdir()) == [final]
    assert list(final.iterdir()) == []


def refuse_links(*_: object) -> None:
    raise OSError(errno.EPERM, "no hard links here")


def test_a_file_system_without_hard_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    write(tmp_path / "a.tif", "new")
    assert contents(tmp_path) == {"a.tif": "new"}


def test_files_and_folders_are_replaced_when_allowed(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", "old")
    write(tmp_path / "a.zarr", "old")
    (tmp_path / "a.zarr" / "1").write_text("a level that the new one does not have")
    write(tmp_path / "a.tif", "new", overwrite=True)
    write(tmp_path / "a.zarr", "new", overwrite=True)
    assert contents(tmp_path) == {"a.tif": "new", "a.zarr/zarr.json": "new", "a.zarr/0/chunk": "new"}


def test_a_folder_is_never_replaced_by_a_file_nor_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "a.zarr").write_text("old")
    with pytest.raises(ExportError, match="is a folder"):
        write(tmp_path / "a.tif", "new", overwrite=True)
    with pytest.raises(ExportError, match="not a folder"):
        write(tmp_path / "a.zarr", "new", overwrite=True)
    assert contents(tmp_path) == {"a.zarr": "old"}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="results"), complete_or_absent(tmp_path / "results" / "a.tif"):
        pytest.fail("the block must not run")


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="could not be written"), complete_or_absent(tmp_path / "a.tif"):
        pass
    assert contents(tmp_path) == {}


def test_the_file_has_the_rights_any_new_file_has(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write(tmp_path / "a.tif", "new")
    assert (tmp_path / "a.tif").stat().st_mode == (tmp_path / "plain").stat().st_mode
