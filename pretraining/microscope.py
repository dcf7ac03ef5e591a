"""Simulated image formation: optics, illumination and camera noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pretraining.draws import FloatMap, smooth_field


def micrograph(rng: np.random.Generator, specimen: FloatMap) -> FloatMap:
    """Uneven illumination, blur, noise and the camera's response, in that order.

    Parameters
    ----------
    rng : Generator
    specimen : ndarray of float64, shape (N, N)

    Returns
    -------
    ndarray of float64, shape (N, N)
        Median 0; the 1st and the 99th percentile lie 2 apart, as `Normalisation` of the package makes it.
    """
    image = specimen.copy()
    if rng.random() < 0.6:
        image += rng.uniform(0, 0.7) * smooth_field(rng, rng.uniform(25, 60), len(image))
    if rng.random() < 0.7:
        image = ndimage.gaussian_filter(image, rng.uniform(0, 1.6))
    return _recorded(rng, image / (image.std() + 1e-6))


def _recorded(rng: np.random.Generator, image: FloatMap) -> FloatMap:
    """An image of standard deviation 1 with noise, as the camera gives it, normalised."""
    image = _response(rng, image + _noise(rng, image))
    low, middle, high = np.percentile(image, (1, 50, 99))
    return (image - middle) / ((high - low) / 2 + 1e-6)


def _noise(rng: np.random.Generator, image: FloatMap) -> FloatMap:
    """Read noise, the same everywhere, or shot noise, which grows with the root of the light."""
    strength = rng.uniform(0.02, 0.4) if rng.random() < 0.8 else rng.uniform(0.3, 0.8)
    noise = rng.standard_normal(image.shape)
    if rng.random() < 0.3:  # correlated, as after demosaicing, scaling or compression
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 1))
        noise /= noise.std()
    if rng.random() < 0.5:
        return strength * noise
    return strength * noise * np.sqrt(np.maximum(image - image.min(), 0.05) / 3)


def _response(rng: np.random.Generator, image: FloatMap) -> FloatMap:
    """At times a gamma on both sides of the mean, or a few pixels much brighter than all others."""
    if rng.random() < 0.3:
        image = np.sign(image) * np.abs(image) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.2:
        image = np.exp(image * rng.uniform(0.3, 1))
    return image


def micrographs(rng: np.random.Generator, channels: FloatMap) -> FloatMap:
    """The same of several channels, shape (C, N, N), which share illumination and focus."""
    size = channels.shape[-1]
    images = channels / (channels.std((1, 2), keepdims=True) + 1e-6)
    if rng.random() < 0.6:
        images = images + rng.uniform(0, 0.7) * smooth_field(rng, rng.uniform(size / 6, size / 3), size)
    if rng.random() < 0.7:
        blur = rng.uniform(0, 1.6)
        images = ndimage.gaussian_filter(images, (0, blur, blur))
    return np.stack([_recorded(rng, image / (image.std() + 1e-6)) for image in images])
