"""Training that follows the paint: strokes in, an immutable classifier out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

import torch

from napari_dsparse.classifier import (
    DEFAULT_NETWORK,
    ClassInfo,
    NetworkSpec,
    TrainedClassifier,
    TrainingRecord,
)
from napari_dsparse.classifier.warm_start import Opinion, warm_start
from napari_dsparse.errors import DsparseError, ImageError, LabelsError
from napari_dsparse.images import ImageSource, Normalisation
from napari_dsparse.machine.devices import pick_device
from napari_dsparse.network import trace
from napari_dsparse.training.batch import Batch, make_batches
from napari_dsparse.training.choice import ChosenPixels, choose_pixels
from napari_dsparse.training.features import PixelFeatures
from napari_dsparse.training.head import Head, Unpainted, self_training_weight
from napari_dsparse.training.learner import Learner, Recipe
from napari_dsparse.training.opinions import form_opinions
from napari_dsparse.training.priors import ClassPriors
from napari_dsparse.training.progress import TrainingProgress
from napari_dsparse.training.rounds import Round
from napari_dsparse.training.strokes import Stroke
from napari_dsparse.training.validation import Accuracy, Sample, cross_validate

#: With neighbouring planes the last layer is fitted, and that is all.
NO_STEPS = (
    "A model of neighbouring planes takes no gradient steps, which see one plane at a time; leave them "
    "out, or train without neighbouring planes (depth 'off')."
)


class Trainer:
    """Learns from strokes; lives in one thread.

    `update` takes the strokes as they are now and fits the last layer to them; `judge` measures the fit on
    held-out strokes; `step` takes a gradient step where some were requested; `steady` is True when nothing
    is left to do; `snapshot` is the result at any moment.

    Parameters
    ----------
    sources : sequence of ImageSource
        Training images, all with the same number of channels.
    classes : sequence of ClassInfo
        Class i + 1 is entry i.
    network : str
        Name of a built-in network, or "auto".
    depth : str
        "off", or "neighbours": every plane of a stack is seen with those before and behind it.
    normalise : str
        "together": all images in one way. "image": each by its own grey values, which takes differences in
        exposure out; the classifier will do the same to whatever it segments.
    seed : int
        Same seed, same strokes, same steps: the same weights, bit for bit on a CPU.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    hold_out : bool
        True to measure accuracy on held-out strokes (see `cross_validate`).
    recipe : Recipe, optional

    Raises
    ------
    DsparseError
        If there is no image, or their channels differ, or network or device are not known.
    ImageError
        If planes are to be seen with their neighbours, and an image has only one or is a series in time.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        classes: Sequence[ClassInfo],
        *,
        network: str = "auto",
        depth: str = "off",
        normalise: str = "together",
        seed: int = 0,
        device: str = "auto",
        hold_out: bool = True,
        recipe: Recipe | None = None,
    ) -> None:
        channels = sorted({source.channels for source in sources})
        if len(channels) != 1:
            got = " and ".join(map(str, channels)) or "no"
            raise DsparseError(
                f"Images to train on have {got} channels; give images with equally many, at least one."
            )
        self._sources = tuple(sources)
        self._classes = tuple(classes)
        self._seed = seed
        self._device = pick_device(device)
        self._recipe = recipe or Recipe()
        self._normalisation = Normalisation.measure(self._sources)
        self._per_image = normalise == "image"
        self._normalisations = (
            tuple(Normalisation.measure([source]) for source in self._sources)
            if self._per_image
            else (self._normalisation,) * len(self._sources)
        )
        spec = NetworkSpec(
            DEFAULT_NETWORK if network == "auto" else network, channels[0], max(1, len(classes)), depth
        )
        if spec.neighbours:
            for source in self._sources:
                if source.depth_problem is not None:
                    raise ImageError(source.depth_problem)
                if source.shape[-3] < 2:
                    raise ImageError(
                        f"Image {source.name!r} has one plane, with none before or behind it to learn from; "
                        "give a stack of several, or leave depth off."
                    )
        self._learner = Learner(spec, self._recipe, seed, self._device)
        self._hold_out = hold_out
        self._features = PixelFeatures(spec, self._sources, self._normalisations, self._device)
        self._class_priors = ClassPriors(self._sources)
        self._strokes: tuple[Stroke, ...] = ()
        self._present: tuple[int, ...] = ()
        self._chosen: ChosenPixels | None = None
        self._head: Head | None = None
        self._opinions: tuple[Opinion, ...] = ()
        self._unpainted: Unpainted | None = None
        self._fit = torch.empty(0), torch.empty(0)
        self._batches: tuple[Batch, ...] = ()
        self._round = self._round_of(self._recipe.steps, None, since=0.0)
        self._accuracy: Accuracy | None = None
        self._loss = float("nan")
        self._seconds = 0.0

    def update(
        self,
        strokes: Sequence[Stroke],
        classes: Sequence[ClassInfo] | None = None,
        *,
        steps: int | None = None,
        seconds: float | None = None,
    ) -> bool:
        """Take the strokes (and classes) as they are now, and start a round of training if they changed.

        It starts from the warm start, with the last layer fitted to all strokes: a snapshot
        is useful before the first step, and the same strokes make the same model in whatever order they came.

        Parameters
        ----------
        strokes : sequence of Stroke
            All strokes; unchanged ones take almost no time.
        classes : sequence of ClassInfo, optional
            If names, colours or the number of classes changed.
        steps : int, optional
            Gradient steps that follow, instead of the recipe's number.
        seconds : float, optional
            Limit for everything since the call, the fit included; the fit itself is always finished.

        Returns
        -------
        bool
            True if there is something new to learn.

        Raises
        ------
        LabelsError
            If fewer than two classes are painted, or a stroke's class is not among the classes. The trainer
            is then as it was before.
        DsparseError
            If gradient steps are requested of a trainer that looks at neighbouring planes.
        """
        steps = self._recipe.steps if steps is None else steps
        self._check_steps(steps)
        classes = self._classes if classes is None else tuple(classes)
        present = _check_classes(strokes, classes)
        learner = self._learner
        if len(classes) != learner.spec.classes:
            spec = replace(learner.spec, classes=len(classes))
            learner = Learner(spec, self._recipe, self._seed, self._device)
        elif [s.key for s in strokes] == [s.key for s in self._strokes]:
            self._classes = classes
            return False
        started = time.perf_counter()
        chosen = choose_pixels(strokes)
        rows = self._features.rows(strokes, chosen, present)
        head = Head(rows)
        warm = warm_start(self._learner.spec)
        opinions = form_opinions(warm, strokes, chosen, rows, head, self._seed)
        seen = self._class_priors.seen(self._features.surroundings)
        unpainted = Unpainted(seen, warm.scale, self_training_weight(chosen.evidence))
        fitted = head.fit(opinions, unpainted)
        learner.begin(*fitted, present)
        self._learner, self._classes = learner, classes
        self._strokes, self._present = tuple(strokes), present
        self._chosen, self._head, self._opinions = chosen, head, opinions
        self._unpainted, self._fit = unpainted, fitted
        self._accuracy, self._batches = None, ()
        self._loss = float("nan")
        self._seconds = time.perf_counter() - started
        self._round = self._round_of(steps, seconds, since=0.0)
        return True

    def judge(self) -> TrainingProgress:
        """Measure the fit on held-out strokes, once for the same strokes.

        Raises
        ------
        LabelsError
            If no strokes have been given yet.
        """
        chosen, head = self._fitted()
        if self._hold_out and self._accuracy is None:
            started = time.perf_counter()
            sample, count = self._sample(), len(self._classes)
            self._accuracy = cross_validate(
                self._strokes, chosen, head, self._opinions, sample, count, self._seed, self._unpainted
            )
            self._seconds += time.perf_counter() - started
        return self.progress()

    def _sample(self) -> Sample:
        surroundings, scale = self._features.surroundings, warm_start(self._learner.spec).scale
        seen = self._class_priors.seen(surroundings)
        weight, bias = (own.to(seen.dtype) for own in self._fit)
        priors = self._class_priors.estimate(
            surroundings, weight * scale, bias * scale, self._present, len(self._classes)
        )
        present = torch.tensor(priors)[list(self._present)]
        return Sample(seen, seen @ weight.t() + bias, scale, present)

    def train_more(self, *, steps: int | None = None, seconds: float | None = None) -> None:
        """Start a round of gradient steps: of `steps`, or `seconds`, or the recipe's length.

        Raises
        ------
        DsparseError
            If this trainer looks at neighbouring planes.
        """
        if steps is None and seconds is None:
            steps = self._recipe.round_steps
        self._check_steps(steps)
        self._round = self._round_of(steps, seconds, since=self._seconds)

    def _check_steps(self, steps: int | None) -> None:
        if self._learner.spec.neighbours and steps != 0:
            raise DsparseError(NO_STEPS)

    def _round_of(self, steps: int | None, seconds: float | None, since: float) -> Round:
        clock = None if seconds is None else (since, seconds)
        recipe = self._recipe
        return Round(
            self._learner.steps, steps, clock, recipe.peak_rate, recipe.warm_up, max(1, recipe.round_steps)
        )

    @property
    def steady(self) -> bool:
        """True if the present round is over: nothing is left to gain until the labels change."""
        return self._round.done(self._learner.steps, self._seconds) >= 1

    @property
    def out_of_time(self) -> bool:
        """True if the time limit is reached."""
        return self._round.late(self._seconds)

    def step(self) -> TrainingProgress:
        """One step on the next batch.

        Raises
        ------
        LabelsError
            If no strokes have been given yet.
        """
        self._fitted()
        started = time.perf_counter()
        if not self._batches:
            geometry = trace(self._learner.spec.empty().eval())
            self._batches = make_batches(
                self._sources, self._normalisations, geometry, self._strokes, self._device
            )
        batch = self._batches[self._learner.steps % len(self._batches)]
        rate = self._round.rate(self._learner.steps, self._seconds)
        self._loss = self._learner.step(batch, self._present, rate)
        self._seconds += time.perf_counter() - started
        return self.progress()

    def snapshot(self) -> TrainedClassifier:
        """The classifier as it stands: a value of its own, untouched by further steps.

        Raises
        ------
        LabelsError
            If no strokes have been given yet.
        """
        self._fitted()
        started = time.perf_counter()
        priors = self._estimate_priors()
        self._seconds += time.perf_counter() - started
        axis = self._sources[0].channel_axis
        return TrainedClassifier(
            spec=self._learner.spec,
            weights=self._learner.weights(),
            classes=self._classes,
            priors=priors,
            normalisation=self._normalisation,
            per_image=self._per_image,
            # Counted from the end, it means the same for planes and stacks where channels come last.
            channel_axis=None if axis is None else axis - (len(self._sources[0].shape) + 1),
            letters=self._sources[0].letters,
            n_symmetries=self._recipe.n_symmetries,
            record=self.record(),
        )

    def _estimate_priors(self) -> tuple[float, ...]:
        surroundings = self._features.surroundings
        if self._learner.steps:
            surroundings = surroundings.of_trunk(self._learner.trunk())
        weight, bias = self._learner.last_layer(self._present)
        return self._class_priors.estimate(surroundings, weight, bias, self._present, len(self._classes))

    def record(self) -> TrainingRecord:
        """Provenance of the classifier so far."""
        iou = self._accuracy.iou if self._accuracy else {}
        return TrainingRecord(
            seed=self._seed,
            steps=self._learner.steps,
            seconds=round(self._seconds, 3),
            strokes=len(self._strokes),
            pixels=sum(len(stroke.yx) for stroke in self._strokes),
            held_out_iou=tuple(iou.get(i + 1) for i in range(len(self._classes))),
            held_out_strokes=self._accuracy.strokes if self._accuracy else 0,
            versions=tuple((name, version(name)) for name in ("napari-dsparse", "torch", "numpy")),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _fitted(self) -> tuple[ChosenPixels, Head]:
        if self._chosen is None or self._head is None:
            raise LabelsError("There are no strokes to learn from yet; paint two classes first.")
        return self._chosen, self._head

    def progress(self) -> TrainingProgress:
        """Progress of the training; its loss is NaN before the first step."""
        return TrainingProgress(
            step=self._learner.steps,
            planned_steps=self._round.planned_steps(self._learner.steps, self._seconds),
            loss=self._loss,
            held_out_iou=self._accuracy.iou if self._accuracy else {},
            held_out_strokes=self._accuracy.strokes if self._accuracy else 0,
            seconds=self._seconds,
            steady=self.steady,
            strokes=len(self._strokes),
            held_out_confusion=self._confusion(),
            held_out_range=self._accuracy.range if self._accuracy else {},
        )

    def _confusion(self) -> tuple[tuple[int, ...], ...]:
        if self._accuracy is None or not self._accuracy.strokes:
            return ()
        return tuple(tuple(map(int, row)) for row in self._accuracy.confusion)


def _check_classes(strokes: Sequence[Stroke], classes: Sequence[ClassInfo]) -> tuple[int, ...]:
    """Class indices with paint, from 0."""
    labels = sorted({stroke.label for stroke in strokes})
    if len(labels) < 2:
        got = f"only class {labels[0]} is" if labels else "no class is"
        raise LabelsError(f"There is nothing to tell apart: {got} painted; paint at least two classes.")
    if labels[-1] > len(classes):
        raise LabelsError(
            f"Class {labels[-1]} is painted, but there are {len(classes)} classes; "
            f"add it to the classes, or paint with 1 to {len(classes)}."
        )
    return tuple(label - 1 for label in labels)
