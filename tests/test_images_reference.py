"""A reference to an image stands for its pixels where the very same file is seen, and nowhere else."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from classifiers import classifier_for
from napari_dsparse.batch.inputs import read_input
from napari_dsparse.errors import ImageError
from napari_dsparse.images import ImageSource, reference
from napari_dsparse.images.combined import combine_files, combined_source
from napari_dsparse.images.reading import read_image
from napari_dsparse.images.reference import ImageReference, OpenedImages, refer_to
from napari_dsparse.images.tiff_array import TiffArray
from napari_dsparse.prediction import Predictor, plan_tiles, tiles
from napari_dsparse.prediction.blocks import BlockGrid
from napari_dsparse.prediction.pieces import Piece, Setting, do_job, make_job

RNG = np.random.default_rng(0)
STACK = RNG.normal(1000, 300, (3, 90, 110)).astype(np.uint16)
COLOURS = RNG.integers(0, 255, (3, 90, 110, 3), np.uint8)


def tiled_tiff(path: Path, pixels: np.ndarray) -> None:
    photometric = "rgb" if pixels.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, tile=(32, 48), compression="zlib")


def white_tiff(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path, pixels, photometric="miniswhite", metadata={"axes": "ZYX"})


def two_series(path: Path, pixels: np.ndarray) -> None:
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(np.tile(pixels, (1, 2, 2)), metadata={"axes": "ZYX"})
        tiff.write(pixels, metadata={"axes": "ZYX"})


def zarr_array(path: Path, pixels: np.ndarray) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(store=str(path), data=pixels, chunks=(1, 40, 64, *pixels.shape[3:]))


FILES: dict[str, tuple[str, Callable[[Path, np.ndarray], None], np.ndarray, int | None]] = {
    "tiled TIFF, colour": ("a.tif", tiled_tiff, COLOURS, None),
    "TIFF, white is 0": ("a.tif", white_tiff, STACK, None),
    "TIFF, second series": ("a.ome.tif", two_series, STACK, 1),
    "Zarr": ("a.zarr", zarr_array, STACK, None),
    "Zarr, float64": ("a.zarr", zarr_array, STACK / 7, None),
    "npy": ("a.npy", np.save, STACK.astype(np.int64), None),
}


@pytest.mark.parametrize(
    ("kind", "network", "depth"),
    [*((kind, "compact", "off") for kind in FILES), ("Zarr", "context", "neighbours")],
)
def test_a_job_with_a_reference_gives_the_bytes_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, network: str, depth: str
) -> None:
    name, write, pixels, series = FILES[kind]
    write(tmp_path / name, pixels)
    source = read_input(tmp_path / name, 3 if pixels.ndim == 4 else None, series=series).source
    classifier = classifier_for(channels=source.channels, network=network, depth=depth)
    monkeypatch.setattr(tiles, "TILE_OVER_HALO", 0)
    monkeypatch.setattr(tiles, "TILE_INPUT", classifier.spec.patch - 1 + 60)
    plan = plan_tiles(source.shape, classifier.spec)
    grid = BlockGrid.over(plan, classifier.spec.block_halo)
    setting, pieces = Setting.of(classifier, "cpu", "float32"), (Piece(plan[:1]), Piece(plan[-2:]))
    here = {found.tile: found for found in Predictor(classifier).stream(source, plan)}
    there = refer_to(source)
    for piece in pieces:
        sent = make_job(setting, source, piece, grid, image=f"{kind} {depth} sent")
        referred = make_job(setting, source, piece, grid, image=f"{kind} {depth}", reference=there)
        assert isinstance(referred.pixels, ImageReference)
        travelled = pickle.loads(pickle.dumps(referred))
        with OpenedImages().reading(travelled.pixels) as image:
            found = travelled.window.read(image)
        assert (found.dtype, found.tobytes()) == (sent.pixels.dtype, sent.pixels.tobytes())
        for tile, found in zip(piece.tiles, do_job(travelled), strict=True):
            assert found.value("probabilities").tobytes() == here[tile].value("probabilities").tobytes()


def test_images_in_memory_and_combinations_have_no_reference(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        tiled_tiff(tmp_path / name, STACK)
    files = [read_image(tmp_path / name) for name in ("a.tif", "b.tif")]
    assert refer_to(files[0].source()) is not None
    assert refer_to(combined_source(combine_files(files))) is None
    assert refer_to(ImageSource(STACK)) is None


@pytest.fixture
def stack(tmp_path: Path) -> ImageSource:
    tifffile.imwrite(tmp_path / "a.tif", STACK, tile=(32, 48), photometric="minisblack")
    return read_image(tmp_path / "a.tif").source()


def test_no_reference_is_made_to_a_file_that_has_changed_since_it_was_opened(
    stack: ImageSource, tmp_path: Path
) -> None:
    tiled_tiff(tmp_path / "a.tif", STACK + 1)
    assert refer_to(stack) is None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("gone", "no such file"),
        ("pixels", "another file of that name"),
        ("time", "another file of that name"),
        ("damaged", r"File '.*a.tif' cannot be read"),
    ],
)
def test_another_file_under_the_name_is_not_read(
    stack: ImageSource, tmp_path: Path, what: str, reason: str
) -> None:
    path, there = tmp_path / "a.tif", refer_to(stack)
    assert there is not None
    before = path.stat()
    if what == "gone":
        path.unlink()
    elif what == "pixels":
        tifffile.imwrite(path, STACK[:, ::-1], tile=(32, 48), photometric="minisblack")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
    elif what == "time":
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(0, 0))
    else:
        path.write_bytes(b"II*\0nothing of a TIFF")
    with pytest.raises(ImageError, match=reason), OpenedImages().reading(there):
        pass


def test_a_file_that_changes_while_it_is_open_is_noticed_and_opened_anew(
    stack: ImageSource, tmp_path: Path
) -> None:
    images, there = OpenedImages(), refer_to(stack)
    assert there is not None
    with images.reading(there) as first, images.reading(there) as again:
        assert again is first
    with pytest.raises(ImageError, match="it has changed"), images.reading(there):
        os.utime(tmp_path / "a.tif", ns=(0, 0))
    with pytest.raises(ImageError, match="another file"), images.reading(there):
        pass


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are not listed here")
def test_files_are_closed_between_jobs(
    stack: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "MOST_SEGMENTS", 0)  # else all was decoded to see that it is the same

    def is_open() -> bool:
        links = Path("/proc/self/fd").iterdir()
        return any(os.path.samefile(tmp_path / "a.tif", link) for link in links if link.exists())

    there = refer_to(stack)
    assert there is not None
    assert isinstance(stack.data, TiffArray)
    stack.data.close()
    images = OpenedImages()
    for plane in (0, 1):
        with images.reading(there) as image:
            pixels = image.read((plane,), (0, 90), (0, 110))
            assert is_open()
        assert not is_open()
        np.testing.assert_array_equal(pixels[0], STACK[plane])


def test_a_bounded_number_of_images_is_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = reference.read_image
    monkeypatch.setattr(
        reference, "read_image", lambda path, **how: opened.append(path.name) or read(path, **how)
    )
    monkeypatch.setattr(reference, "_OPEN", 2)
    images = OpenedImages()
    for name in ("a", "b", "c", "c", "b", "a"):
        if not (tmp_path / f"{name}.npy").exists():
            np.save(tmp_path / f"{name}.npy", STACK)
        there = refer_to(read(tmp_path / f"{name}.npy").source())
        assert there is not None
        with images.reading(there):
            pass
    assert opened == ["a.npy", "b.npy", "c.npy", "a.npy"]
    assert len(images._open) == 2
