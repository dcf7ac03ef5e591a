"""Appearance of a layout: stain and texture of the specimen, and distractors of no class."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pretraining.draws import SIZE, FloatMap, log_uniform, many, smooth_field
from pretraining.layouts import Layout
from pretraining.shapes import blobs, curves


def texture(rng: np.random.Generator, size: int = SIZE) -> FloatMap:
    """A pattern of about unit contrast, shape (N, N); one time in six there is none."""
    kind = rng.integers(6)
    grain = log_uniform(rng, 0.6, 6)
    if kind == 0:  # plain
        return np.zeros((size, size))
    if kind == 1:  # mottled
        return smooth_field(rng, grain, size)
    if kind == 2:  # streaked along one axis
        long = grain * rng.uniform(1.5, 4)
        return smooth_field(rng, (grain, long) if rng.random() < 0.5 else (long, grain), size)
    if kind == 3:  # bright with dark creases
        return np.abs(smooth_field(rng, grain, size)) * 1.5 - 1
    if kind == 4:  # sparse spots, dark or bright
        return np.maximum(smooth_field(rng, grain, size) - rng.uniform(0.5, 1.5), 0) * rng.choice([-3, 3])
    grains = smooth_field(rng, grain, size) - smooth_field(rng, 2 * grain, size)  # grains of one size
    return grains / grains.std()


def specimen(rng: np.random.Generator, layout: Layout) -> FloatMap:
    """The specimen before it is imaged: stain and texture by class, shape (N, N).

    Intensities are about -3..3. In three of ten specimens a class is a material of one brightness; in one of
    six brightness hardly tells the classes apart, and texture must.
    """
    classes, size = int(layout.labels.max()) + 1, len(layout.labels)
    if rng.random() < 0.3:
        return _materials(rng, layout, classes)
    alike = rng.random() < 0.25
    brightness = rng.normal(0, 1, classes) * (rng.uniform(0, 0.3) if alike else rng.uniform(0.7, 2.2))
    everywhere = texture(rng, size) * rng.uniform(0, 0.6)
    softness = rng.uniform(0, 1.5)  # pixels over which one class passes into the next
    image = np.zeros((size, size))
    for label in range(classes):
        share = (layout.seen_as() == label).astype(float)
        if softness > 0.3:
            share = ndimage.gaussian_filter(share, softness)
        own = texture(rng, size) * rng.uniform(0.1, 0.8) * (1.3 if alike else 1)
        image += share * (brightness[label] + own)
    return image + everywhere + _differences_of_objects(rng, layout) + _halo_and_shading(rng, layout.depth)


def _materials(rng: np.random.Generator, layout: Layout, classes: int) -> FloatMap:
    """Minerals, alloys, flat stains: only brightness differs, however little."""
    steps = np.exp(rng.normal(0, 0.6, classes))
    brightness = rng.permutation(np.cumsum(steps)) * rng.uniform(0.3, 1.5)
    image: FloatMap = brightness[layout.seen_as()]
    image += texture(rng, len(image)) * rng.uniform(0, 0.25) * brightness.std()
    return ndimage.gaussian_filter(image, rng.uniform(0, 1.2))


def _differences_of_objects(rng: np.random.Generator, layout: Layout) -> FloatMap:
    """No two nuclei take up the same amount of stain."""
    if layout.objects.max() == 0:
        return np.zeros(layout.objects.shape)
    stain = rng.normal(0, rng.uniform(0, 0.6), layout.objects.max() + 1)
    stain[0] = 0
    return stain[layout.objects]


def _halo_and_shading(rng: np.random.Generator, depth: FloatMap) -> FloatMap:
    """At times a line along the outlines, as in phase contrast, or objects that grow brighter inwards."""
    added = np.zeros(depth.shape)
    if rng.random() < 0.35:
        added += rng.normal(0, 1) * np.exp(-((depth / rng.uniform(1, 4)) ** 2))
    if rng.random() < 0.3:
        added += rng.normal(0, 0.6) * np.tanh(np.maximum(depth, 0) / rng.uniform(3, 10))
    return added


def distractors(rng: np.random.Generator, size: int = SIZE) -> FloatMap:
    """Things that are no class of their own: debris, vesicles with rims, stray fibres; shape (N, N)."""
    added = np.zeros((size, size))
    if rng.random() < 0.4:
        debris, _ = blobs(rng, many(rng, 3, 40, size), 1.5, rng.uniform(2.5, 7), size)
        added += (debris > 0) * rng.normal(0, 1)
    if rng.random() < 0.3:
        _, depth = blobs(rng, many(rng, 3, 25, size), 2.5, rng.uniform(4, 12), size)
        added += rng.normal(0, 1) * np.exp(-((depth / rng.uniform(0.6, 1.5)) ** 2))
        added += rng.normal(0, 0.4) * (depth > 0)
    if rng.random() < 0.25:
        outside = curves(rng, many(rng, 1, 6, size), rng.uniform(0.5, 1.5), size)
        added += (outside < 0) * rng.normal(0, 1)
    return added
