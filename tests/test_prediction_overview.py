"""A sketch of an overview: exact pixels on a lattice, finer and finer, whatever the image is read from."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from classifiers import classifier_for
from napari_dsparse.images import ImageSource
from napari_dsparse.prediction import Predictor, overview
from napari_dsparse.prediction.next_spot import BLOCK
from napari_dsparse.prediction.overview import Lattice, SiteFeatures, in_pixels, learn_sites, sketches
from napari_dsparse.prediction.tiles import FieldOfView, Tile

IMAGE = np.random.default_rng(0).normal(10, 3, (150, 230)).astype(np.float32)


def never() -> bool:
    return False


def all_sketches(predictor: Predictor, source: ImageSource, lattice: Lattice) -> list[overview.Sketch]:
    return list(sketches(predictor, SiteFeatures(source, lattice), never))


@pytest.mark.parametrize(
    ("network", "depth"), [("compact", "off"), ("context", "off"), ("context", "neighbours")]
)
def test_cells_have_the_class_of_their_middle_pixel(network: str, depth: str) -> None:
    """Exactly, where the network has no wide windows; with windows, scores differ by those alone."""
    stack = depth == "neighbours"
    classifier = classifier_for(network=network, depth=depth, priors=(0.5, 0.3, 0.2))
    source = ImageSource(np.stack([IMAGE, IMAGE + 1, IMAGE - 1])) if stack else ImageSource(IMAGE)
    predictor = Predictor(classifier, "cpu", n_symmetries=1)
    plane = (1,) if stack else ()
    lattice = Lattice(plane, (7, 140), (20, 225), 9)
    exact = predictor.tile(source, lattice.tile)
    assert exact is not None
    cells = [sketch.cell for sketch in all_sketches(predictor, source, lattice)]
    assert cells == [81, 27, 9]
    for sketch in all_sketches(predictor, source, lattice):
        rows, columns = lattice.middles(sketch.cell // lattice.pitch)
        middles = lattice.pixels(np.stack(np.meshgrid(rows, columns, indexing="ij"), -1))
        middles = middles - (lattice.rows[0], lattice.columns[0])
        wanted = exact.probabilities[:, middles[..., 0], middles[..., 1]]
        assert sketch.cells.probabilities.shape == wanted.shape
        if network == "compact":
            assert_allclose(sketch.cells.probabilities, wanted, atol=1e-5)
        assert in_pixels(sketch.cells.labels, sketch.cell, lattice.tile).shape == exact.labels.shape


def test_windows_are_estimated_well_from_a_fine_lattice() -> None:
    yy, xx = np.mgrid[:198, :198]
    image = (10 + 6 * np.sin(yy / 60) * np.sin(xx / 50)).astype(np.float32) + IMAGE[:1, :1]
    predictor = Predictor(classifier_for(network="context", classes=2), "cpu", n_symmetries=1)
    source, lattice = ImageSource(image), Lattice((), (0, 198), (0, 198), 6)
    exact = predictor.tile(source, lattice.tile)
    *_, finest = all_sketches(predictor, source, lattice)
    assert exact is not None
    assert np.abs(finest.cells.probabilities - exact.probabilities[:, 3::6, 3::6]).mean() < 0.01


def test_what_is_known_is_not_computed_again_and_an_end_is_heard() -> None:
    predictor = Predictor(classifier_for(), "cpu")
    source, lattice = ImageSource(IMAGE), Lattice((), (0, 150), (0, 230), 3)
    features = SiteFeatures(source, lattice)
    asked = []

    def soon() -> bool:
        asked.append(True)
        return len(asked) == 3

    assert not learn_sites(predictor, features, soon)
    assert 0 < len(features.missing((), 1)) < 50 * 77
    assert learn_sites(predictor, features, never)
    predictor.site_features = None  # type: ignore[assignment, method-assign]
    found = [sketch.cell for sketch in sketches(predictor, features, never)]
    assert found == [3], "only the finest, which is there at once"


def test_chunks_are_read_once_each_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_LEAST_READ", 16)
    predictor = Predictor(classifier_for(), "cpu")
    lattice = Lattice((), (0, 150), (0, 230), 5)
    lazy = ImageSource(da.from_array(IMAGE, chunks=(50, 60)))
    reads = []
    read = ImageSource.read

    def noted(self: ImageSource, *window: object) -> np.ndarray:
        reads.append(window)
        return read(self, *window)

    monkeypatch.setattr(ImageSource, "read", noted)
    *_, one = all_sketches(predictor, ImageSource(IMAGE), lattice)
    assert len(reads) == 30 * 46
    reads.clear()
    *_, other = all_sketches(predictor, lazy, lattice)
    assert_array_equal(one.cells.painted, other.cells.painted)
    assert len(reads) < 3 * 12 + 24


def test_a_view_is_an_overview_from_a_size_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 8192, 8192)
    assert Lattice.over(shape, FieldOfView((1,), (-100, 9000), (-100, 9000))) == Lattice(
        (1,), (0, 8192), (0, 8192), 61
    )
    assert Lattice.over(shape, FieldOfView((1,), (0, 1024), (0, 1024))) is None
    assert Lattice.over(shape, FieldOfView((1,), (9000, 19000), (0, 8192))) is None


def test_uncertainty_of_cells_fills_the_blocks_of_the_next_spot() -> None:
    predictor = Predictor(classifier_for(), "cpu")
    lattice = Lattice((), (0, 150), (0, 230), 16)
    *_, finest = all_sketches(predictor, ImageSource(IMAGE), lattice)
    blocks = overview.uncertainty_of_blocks(finest)
    assert blocks.shape == (-(-150 // BLOCK), -(-230 // BLOCK))
    assert blocks[0, 0] == finest.cells.uncertainty[0, 0]
    assert blocks[-1, -1] == finest.cells.uncertainty[-1, -1]


def test_cells_become_pixels_up_to_the_edge() -> None:
    shown = in_pixels(np.array([[1, 2], [3, 4]], np.uint8), 3, Tile((), (10, 14), (0, 5)))
    assert_array_equal(shown, [[1, 1, 1, 2, 2]] * 3 + [[3, 3, 3, 4, 4]])
