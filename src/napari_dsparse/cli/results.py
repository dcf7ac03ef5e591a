"""Whole images segmented and written, as `predict` and `demo` do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_dsparse.classifier import ClassInfo
from napari_dsparse.cli.inputs import InputImage
from napari_dsparse.cli.outputs import Outputs
from napari_dsparse.cli.report import Report
from napari_dsparse.files.export import export_array, export_labels
from napari_dsparse.prediction import Prediction, TilePredictor, predict_image


def segment(
    predictor: TilePredictor,
    image: InputImage,
    report: Report,
    *,
    probabilities: bool = False,
    uncertainty: bool = False,
) -> Prediction:
    """Predict an image, with a line of progress."""
    return predict_image(
        predictor,
        image.source,
        probabilities=probabilities,
        uncertainty=uncertainty,
        progress=lambda share: report.progress(
            f"Segmenting {image.source.name}: {int(100 * share)} %", share
        ),
    )


def write(
    prediction: Prediction,
    image: InputImage,
    classes: Sequence[ClassInfo],
    outputs: Outputs,
    report: Report,
    *,
    overwrite: bool,
) -> None:
    """Write what was predicted, with the image's pixel size."""
    place: dict[str, Any] = {
        "scale": image.scale,
        "units": image.units,
        "axes": image.axes,
        "overwrite": overwrite,
    }
    outputs.labels.parent.mkdir(parents=True, exist_ok=True)
    export_labels(outputs.labels, prediction.labels, classes=classes, **place)
    report.wrote(outputs.labels, "Labels")
    if outputs.probabilities is not None and prediction.probabilities is not None:
        export_array(
            outputs.probabilities,
            prediction.probabilities,
            name="probability",
            channels=classes,
            **place,
        )
        report.wrote(outputs.probabilities, "Probabilities")
    if outputs.uncertainty is not None and prediction.uncertainty is not None:
        export_array(outputs.uncertainty, prediction.uncertainty, name="uncertainty", **place)
        report.wrote(outputs.uncertainty, "Uncertainty")
