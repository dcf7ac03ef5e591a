"""One map of a whole image each, for tests that look at one alone."""

from __future__ import annotations

from napari_dsparse.prediction import Predictor, predict_image


def predict_labels(classifier, source, *, device="auto", precision="float32", **options):
    """Labels (..., Y, X)."""
    return predict_image(Predictor(classifier, device, precision=precision), source, **options).labels


def predict_probabilities(classifier, source, *, device="auto", precision="float32"):
    """Probabilities (K, ..., Y, X)."""
    predictor = Predictor(classifier, device, precision=precision)
    return predict_image(predictor, source, probabilities=True).probabilities
