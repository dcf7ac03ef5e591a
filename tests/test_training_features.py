"""Inputs of the fit: features of painted pixels, and means of their surroundings on a lattice."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.network import DenseNetwork, densify
from napari_dsparse.training import features as training_features
from napari_dsparse.training import find_strokes, surroundings
from napari_dsparse.training.choice import LATTICE, MOST_PIXELS, choose_pixels
from napari_dsparse.training.features import PixelFeatures
from napari_dsparse.training.surroundings import Surroundings
from scenes import CountedImage

CPU = torch.device("cpu")
PLAIN = Normalisation((0.0,), (1.0,))


def trunk_of(spec):
    trunk = spec.empty_trunk()
    trunk.load_state_dict(warm_start(spec).trunk, assign=True)
    return trunk.eval().requires_grad_(False)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def dense_features(source, spec):
    """Of every pixel of a plane and `reach` around it: (F, H + 2 reach, W + 2 reach), and reach."""
    reach = max(spec.windows) // 2 * 4 + 4
    half = 13 + reach
    height, width = source.shape[-2:]
    block = source.read((), (-half, height + half), (-half, width + half))
    return densify(trunk_of(spec))(torch.from_numpy(block)[None])[0], reach


@pytest.mark.parametrize("tile_cells", [64, 17])
def test_window_means_are_those_of_the_dense_features(tile_cells, monkeypatch):
    monkeypatch.setattr(surroundings, "TILE_CELLS", tile_cells)
    spec = NetworkSpec("context", 1, 2)
    source = ImageSource(noise((70, 90)))
    dense, reach = dense_features(source, spec)
    around = Surroundings([source], [PLAIN], trunk_of(spec), spec.windows, CPU)
    cells = np.array([[0, 0], [17, 22], [5, 9], [16, 3]])
    seen = around.look(0, (), cells)
    for (y, x), values in zip(cells * 4 + reach, seen, strict=True):
        torch.testing.assert_close(values[0], dense[:, y, x], rtol=1e-4, atol=1e-4)
        for window, mean in zip(spec.windows, values[1:], strict=True):
            half = window // 2 * 4
            wanted = dense[:, y - half : y + half + 1 : 4, x - half : x + half + 1 : 4].mean((1, 2))
            torch.testing.assert_close(mean, wanted, rtol=1e-4, atol=1e-4)


def test_tiles_are_computed_once_and_memory_has_an_end(monkeypatch):
    spec = NetworkSpec("context", 1, 2)
    image = CountedImage(noise((700, 700)))
    source = ImageSource(image)
    around = Surroundings([source], [PLAIN], trunk_of(spec), spec.windows, CPU)
    here, there = np.array([[20, 20]]), np.array([[150, 150]])
    first = around.look(0, (), here)
    read = image.read
    assert 0 < read < 700 * 700 / 2
    assert torch.equal(around.look(0, (), here), first)
    assert image.read == read
    monkeypatch.setattr(surroundings, "MEMORY_BYTES", 1)
    around.look(0, (), there)
    read = image.read
    assert torch.equal(around.look(0, (), here), first)
    assert image.read > read


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_the_dense_features_and_window_means_of_each_pixel(channels):
    spec = NetworkSpec("context", channels, 2)
    source = ImageSource(noise((channels, 60, 80)), 0) if channels > 1 else ImageSource(noise((60, 80)))
    normalisation = Normalisation((0.0,) * channels, (1.0,) * channels)
    labels = np.zeros((60, 80), np.uint8)
    labels[20:22, 10:30], labels[40, 60:79], labels[0, 0] = 1, 2, 2
    strokes = find_strokes(labels)
    chosen = choose_pixels(strokes)
    rows = PixelFeatures(spec, [source], [normalisation], CPU).rows(strokes, chosen, (0, 1))
    count = len(chosen.labels)
    assert rows.groups[0].shape[:2] == (8, count)  # so few are seen under all symmetries
    assert torch.equal(rows.targets, torch.from_numpy(chosen.labels - 1))
    torch.testing.assert_close(rows.weights, torch.from_numpy(chosen.weights))
    dense, reach = dense_features(source, spec)
    y, x = torch.from_numpy(chosen.yx.T + reach)
    torch.testing.assert_close(rows.groups[0][0], dense[:, y, x].t(), rtol=1e-4, atol=1e-4)
    for number, window in enumerate(spec.windows, 1):
        half = window // 2 * 4
        for row in (0, count // 2, count - 1):
            near_y, near_x = (int(c + 2) // 4 * 4 for c in (y[row] - reach, x[row] - reach))
            low_y, low_x = near_y + reach - half, near_x + reach - half
            part = dense[:, low_y : low_y + 2 * half + 1 : 4, low_x : low_x + 2 * half + 1 : 4]
            torch.testing.assert_close(rows.groups[number][row], part.mean((1, 2)), rtol=1e-3, atol=1e-4)


def test_views_are_features_of_the_turned_image():
    spec = NetworkSpec("context", 1, 2)
    image = noise((60, 60))
    labels = np.zeros((60, 60), np.uint8)
    labels[10, 20:30], labels[40:45, 15] = 1, 2

    def views(image, labels):
        strokes = find_strokes(labels)
        chosen = choose_pixels(strokes)
        rows = PixelFeatures(spec, [ImageSource(image)], [PLAIN], CPU).rows(strokes, chosen, (0, 1))
        return chosen.yx, rows.groups[0]

    yx, plain = views(image, labels)
    turned_yx, turned = views(np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(labels[:, ::-1]))
    order = np.lexsort((59 - turned_yx[:, 1], turned_yx[:, 0]))
    np.testing.assert_array_equal(yx[:, 0], turned_yx[order, 0])
    # All views of a pixel together are the same whichever way the image lies.
    for one, other in zip(plain.transpose(0, 1), turned[:, order].transpose(0, 1), strict=True):
        distances = torch.cdist(one, other)
        assert (distances.min(1).values < 1e-3 * one.norm(dim=1)).all()
        assert (one[1:] - one[:1]).norm(dim=1).min() > 1e-2  # and no two are the same


def test_much_paint_is_seen_once_and_known_pixels_are_not_computed_again():
    spec = NetworkSpec("compact", 1, 2)
    image = CountedImage(noise((256, 256)))
    labels = np.ones((256, 256), np.uint8)
    labels[:, 128:] = 2
    features = PixelFeatures(spec, [ImageSource(image)], [PLAIN], CPU)

    def look():
        strokes = find_strokes(labels)
        chosen = choose_pixels(strokes)
        image.read = 0
        return features.rows(strokes, chosen, (0, 1)), len(chosen.labels)

    first, count = look()
    assert count > MOST_PIXELS / 2
    assert first.groups[0].shape[:2] == (1, count)
    assert len(first.targets) == count
    again, _ = look()
    assert image.read == 0
    assert torch.equal(again.groups[0], first.groups[0])


def test_of_much_paint_what_the_surroundings_know_is_not_computed_again(monkeypatch):
    spec = NetworkSpec("context", 1, 2)
    source = ImageSource(noise((300, 300)))
    labels = np.ones((300, 300), np.uint8)
    labels[:, 150:] = 2
    labels[:16] = 0
    labels[9, :40] = 1  # squares without a pixel on the lattice
    strokes = find_strokes(labels)
    monkeypatch.setattr("napari_dsparse.training.choice.MOST_PIXELS", 2000)
    chosen = choose_pixels(strokes)
    on_lattice = (chosen.yx % LATTICE == 0).all(1)
    assert 0.9 < on_lattice.mean() < 1
    monkeypatch.setattr("napari_dsparse.training.features.MOST_PIXELS", 2000)
    computed = []
    on_sites = DenseNetwork.on_sites

    def told(self, pixels, closure):
        computed.append(closure.outputs)
        return on_sites(self, pixels, closure)

    monkeypatch.setattr(DenseNetwork, "on_sites", told)
    features = PixelFeatures(spec, [source], [PLAIN], CPU)
    assert features.surroundings.stride == LATTICE
    rows = features.rows(strokes, chosen, (0, 1))
    assert sum(computed) == np.count_nonzero(~on_lattice)
    dense, reach = dense_features(source, spec)
    y, x = torch.from_numpy(chosen.yx.T + reach)
    torch.testing.assert_close(rows.groups[0][0], dense[:, y, x].t(), rtol=1e-4, atol=1e-4)


def rows_of_striped_noise():
    """Rows of much paint, in stripes of two classes, looked at anew."""
    labels = np.zeros((300, 300), np.uint8)
    labels[10:290:40, 10:290], labels[30:290:40, 10:290] = 1, 2
    strokes = find_strokes(labels)
    features = PixelFeatures(NetworkSpec("context", 1, 2), [ImageSource(noise((300, 300)))], [PLAIN], CPU)
    return features.rows(strokes, choose_pixels(strokes), (0, 1))


def test_looking_at_a_few_pieces_at_a_time_changes_nothing(monkeypatch):
    found = []
    for most in (1, training_features.PIXELS_PER_LOOK):
        monkeypatch.setattr("napari_dsparse.training.features.PIXELS_PER_LOOK", most)
        found.append(rows_of_striped_noise())
    torch.testing.assert_close(found[0].groups[0], found[1].groups[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0].targets, found[1].targets)


@pytest.mark.parametrize("lanes", [2, 5])
def test_looking_from_several_threads_changes_nothing(monkeypatch, lanes):
    threads: set[int] = set()
    on_sites = DenseNetwork.on_sites

    def told(self, *arguments):
        threads.add(threading.get_ident())
        return on_sites(self, *arguments)

    monkeypatch.setattr(DenseNetwork, "on_sites", told)
    found = []
    for number in (1, lanes):
        threads.clear()
        for module in ("features", "surroundings"):
            monkeypatch.setattr(f"napari_dsparse.training.{module}.lanes_of", lambda _, number=number: number)
        found.append(rows_of_striped_noise())
    assert len(threads) > 1
    for one, several in zip(*(rows.groups for rows in found), strict=True):
        torch.testing.assert_close(one, several, rtol=1e-4, atol=1e-5)
