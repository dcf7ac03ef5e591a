"""Meta-learning: the trunk learns features on which a last layer fitted to a few strokes does well."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.errors import LabelsError
from napari_dsparse.samples.scores import mean_iou
from napari_dsparse.training.priors import LEAST, TRUST
from pretraining import warm_file
from pretraining.draws import Stream, generator
from pretraining.episodes import Episode, draw_episode, painted_episode
from pretraining.head import Paint, RidgeHead
from pretraining.painting import choose
from pretraining.scenes import SceneSet
from pretraining.trunk import Fragments


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings with which the shipped weights were learned.

    Parameters
    ----------
    steps : int
    peak_rate : float
        Highest learning rate of AdamW.
    batch : int
        Episodes per step.
    crop : int
        Rows and columns of an episode.
    queries : int
        Pixels of an episode that the loss is taken at.
    warm_up : int
        Steps in which the rate rises; then it falls as a cosine, to no less than `lowest` of its peak.
    lowest : float
    weight_decay : float
        Of the trunk.
    clip : float
        Largest norm of the trunk's gradient.
    most_loss : float
        Cap on an episode's loss, in nats, beyond which it has no gradient.
    report_every : int
        Steps between reports.
    """

    steps: int = 12000
    peak_rate: float = 2e-3
    batch: int = 6
    crop: int = 112
    queries: int = 1500
    warm_up: int = 60
    lowest: float = 0.02
    weight_decay: float = 1e-3
    clip: float = 1.0
    most_loss: float = 4.0
    report_every: int = 100

    def rate(self, step: int) -> float:
        """Learning rate of `step`, from 0."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.peak_rate * min(1, (step + 1) / self.warm_up) * max(self.lowest, cosine)


#: Peak rate where weights learned before are taken up again.
CONTINUED_RATE = 1.2e-3

#: Painted pixels per class in the scenes that accuracy is measured on.
HELD_PIXELS = 120

#: Most crops tried for an episode; most crops of drawn scenes are valid.
MOST_CROPS = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """State of learning after a step.

    Parameters
    ----------
    step : int
    loss : float
        Mean cross-entropy since the last report, in nats.
    held_iou : float
        Mean intersection over union of the classes, then of the held scenes; nan without such scenes.
    ridge, scale, small_sample_penalty : float
        See `napari_dsparse.classifier.warm_start.WarmStart`.
    seconds : float
        Since learning began.
    """

    step: int
    loss: float
    held_iou: float
    ridge: float
    scale: float
    small_sample_penalty: float
    seconds: float


class MetaLearner:
    """A trunk and the head that is fitted to its features; same seed, same weights, bit for bit on a CPU.

    Parameters
    ----------
    network : str
        Name of a built-in network.
    seed : int
    start : Path, optional
        File of a warm start to continue from.

    Raises
    ------
    DsparseError
        If the network is not known, or the file is not of it.
    """

    def __init__(self, network: str, seed: int, start: Path | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = built_trunk(NetworkSpec(network, channels=1, classes=2))
            _spread(self.trunk)
        self.head = RidgeHead() if start is None else warm_file.read(start, self.trunk)
        self._maps = Fragments(self.trunk, bfloat16=True)
        self._seed = seed

    def learn(self, scenes: SceneSet, held: SceneSet, recipe: Recipe) -> Iterator[Report]:
        """Take all steps of a recipe on episodes of `scenes`; a report now and then, the last one at the end.

        Parameters
        ----------
        scenes : SceneSet
            At least as large as the recipe's crop.
        held : SceneSet
            Never learned from: accuracy is measured on them. May be empty.
        recipe : Recipe

        Raises
        ------
        LabelsError
            If the scenes hold no two classes close to each other.
        """
        started = time.perf_counter()
        optimiser = torch.optim.AdamW(
            [
                {"params": self.trunk.parameters(), "weight_decay": recipe.weight_decay},
                {"params": self.head.parameters(), "weight_decay": 0.0},
            ]
        )
        losses: list[float] = []
        for step in range(recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(step)
            optimiser.zero_grad()
            loss = self._loss(generator(Stream.EPISODES, self._seed, step), scenes, recipe)
            loss.backward()
            nn.utils.clip_grad_norm_(self.trunk.parameters(), recipe.clip)
            optimiser.step()
            losses.append(loss.item())
            if (step + 1) % recipe.report_every == 0 or step + 1 == recipe.steps:
                yield Report(
                    step + 1,
                    float(np.mean(losses)),
                    self.held_iou(held),
                    self.head.ridge.item(),
                    self.head.scale.item(),
                    self.head.small_sample_penalty.item(),
                    time.perf_counter() - started,
                )
                losses.clear()

    @torch.no_grad()
    def held_iou(self, held: SceneSet) -> float:
        """Mean IoU over classes, then over scenes, of all pixels after strokes that are always the same."""
        scores = []
        for number, (image, labels) in enumerate(zip(held.images, held.labels, strict=True)):
            rng = generator(Stream.HELD_STROKES, 0, number)
            episode = painted_episode(rng, image, labels, self._patch, HELD_PIXELS)
            if episode is not None:
                (features,) = self._features([episode])
                found = self._logits(features, episode, np.arange(episode.labels.size)).argmax(1)
                truth = episode.labels.ravel() + 1  # of `mean_iou`, 0 is unknown
                scores.append(mean_iou(found.numpy() + 1, truth, np.zeros_like(truth)))
        return float(np.mean(scores)) if scores else math.nan

    def _loss(self, rng: np.random.Generator, scenes: SceneSet, recipe: Recipe) -> Tensor:
        """Cross-entropy at random pixels of a batch of episodes."""
        episodes = [self._episode(rng, scenes, recipe.crop) for _ in range(recipe.batch)]
        losses = []
        for features, episode in zip(self._features(episodes), episodes, strict=True):
            queries = rng.integers(0, episode.labels.size, recipe.queries)
            targets = torch.from_numpy(episode.labels.ravel()[queries])
            losses.append(F.cross_entropy(self._logits(features, episode, queries), targets))
        # Where a fit goes wrong altogether, pixels far from all strokes would drown the other episodes.
        return torch.stack(losses).clamp(max=recipe.most_loss).mean()

    def _episode(self, rng: np.random.Generator, scenes: SceneSet, crop: int) -> Episode:
        """Of any scene that holds enough of two classes where it is cropped."""
        for _ in range(MOST_CROPS):
            number = rng.integers(len(scenes))
            episode = draw_episode(rng, scenes.images[number], scenes.labels[number], crop, self._patch)
            if episode is not None:
                return episode
        raise LabelsError(
            f"In {MOST_CROPS} crops of {len(scenes)} scenes not one held two classes; give more scenes."
        )

    def _features(self, episodes: list[Episode]) -> Tensor:
        """Features of every pixel with an answer, shape (episodes, pixels, F)."""
        images = torch.from_numpy(np.stack([episode.image for episode in episodes]))
        maps: Tensor = self._maps(images[:, None])
        return maps.flatten(2).transpose(1, 2)

    def _logits(self, features: Tensor, episode: Episode, queries: NDArray[np.int64]) -> Tensor:
        """Logits (Q, K) of the pixels `queries` (Q,), a random sample, from a head fitted to the strokes."""
        rows, paint = paint_of(episode)
        chosen = episode.strokes[rows]
        # index_select, since its gradient adds up in the same order every time.
        painted = features.index_select(0, torch.from_numpy(chosen))
        targets = torch.from_numpy(episode.labels.ravel()[chosen])
        asked = features.index_select(0, torch.from_numpy(queries))
        logits: Tensor = self.head(painted, targets, paint, asked)
        return logits + log_priors(logits.detach())

    @property
    def _patch(self) -> int:
        return self._maps.patch


def built_trunk(spec: NetworkSpec) -> nn.Sequential:
    """The layers of a network but the last, with fresh random weights."""
    network = spec.build()
    trunk = network[0] if spec.prefixes[0] else network[:-1]
    assert isinstance(trunk, nn.Sequential)
    return trunk


def paint_of(episode: Episode) -> tuple[NDArray[np.int64], Paint]:
    """Painted pixels (T,) that the package would learn from, and their weights."""
    places = np.stack(np.unravel_index(episode.strokes, episode.labels.shape), 1)
    classes = episode.labels.ravel()[episode.strokes]
    rows, chosen = choose(places, classes, classes)
    cells = [chosen.squares[number] for number in sorted(chosen.squares)]
    weights = torch.from_numpy(chosen.weights.astype(np.float32))
    return rows, Paint(torch.tensor(cells, dtype=torch.float32), weights)


def _spread(trunk: nn.Module) -> None:
    """First weights that keep the variance of activations from layer to layer (He et al., ICCV 2015)."""
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.1)
            nn.init.zeros_(layer.bias)


def log_priors(logits: Tensor) -> Tensor:
    """Log of the class priors that the package adds (`ClassPriors`), from logits (Q, K): (K,)."""
    priors = logits.softmax(1).mean(0).clamp(min=LEAST / logits.shape[1]) ** TRUST
    return (priors / priors.sum()).log()
