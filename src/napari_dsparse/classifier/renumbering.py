"""A trained classifier after an edit of the table of classes."""

from __future__ import annotations

from dataclasses import replace

from napari_dsparse.classifier.class_edits import ClassEdit
from napari_dsparse.classifier.trained import TrainedClassifier


def renumbered(classifier: TrainedClassifier, edit: ClassEdit) -> TrainedClassifier | None:
    """The classifier with its classes numbered as after `edit`; None where it has to be trained anew.

    A class that was removed is not chosen from any more, and the others share its prior. Classes that were
    merged, or are two again, take a new fit: no last layer gives the sum of two probabilities.
    """
    count, own = len(edit.classes), len(classifier.classes)
    numbers = [edit.number(old) for old in range(1, own + 1)]
    kept = [index for index, new in enumerate(numbers) if new and classifier.priors[index] > 0]
    targets = [numbers[index] for index in kept]
    learned_split = 0 < edit.split <= own and classifier.priors[edit.split - 1] > 0
    if learned_split or len(set(targets)) < len(targets) or len(targets) < 2:
        return None
    count = max(count, *targets)
    sources: list[int | None] = [None] * count
    for index in kept:
        sources[numbers[index] - 1] = index
    classes = tuple(
        edit.classes[i] if i < len(edit.classes) else classifier.classes[source if source is not None else i]
        for i, source in enumerate(sources)
    )
    total = sum(classifier.priors[index] for index in kept)
    iou = classifier.record.held_out_iou
    rows = [0 if source is None else source for source in sources]
    absent = [i for i, source in enumerate(sources) if source is None]
    head = classifier.spec.prefixes[1]
    weights = dict(classifier.weights)
    for name, tensor in weights.items():
        if name.startswith(head):
            # Rows of the last layer come in groups, one per window, of one row per class.
            grouped = tensor.view(-1, own, *tensor.shape[1:])[:, rows]
            grouped[:, absent] = 0
            weights[name] = grouped.flatten(0, 1)
    return replace(
        classifier,
        spec=replace(classifier.spec, classes=count),
        weights=weights,
        classes=classes,
        priors=tuple(0.0 if source is None else classifier.priors[source] / total for source in sources),
        record=replace(
            classifier.record,
            held_out_iou=tuple(
                iou[source] if source is not None and source < len(iou) else None for source in sources
            ),
        ),
    )
