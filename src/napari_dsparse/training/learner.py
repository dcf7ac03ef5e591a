"""One network learning from batches of strokes: loss, augmentation, schedule, averaged weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from napari_dsparse.network import DenseNetwork, NetworkSpec, densify
from napari_dsparse.network.symmetry import SYMMETRIES, turn_kernels
from napari_dsparse.network.warm import warm_start
from napari_dsparse.ops.devices import full_float32
from napari_dsparse.sites import Closure
from napari_dsparse.training.adamw import AdamW
from napari_dsparse.training.batch import Batch
from napari_dsparse.training.head import Moments, fit_head


@dataclass(frozen=True, slots=True)
class Recipe:
    """The fixed training recipe; one for all images.

    Parameters
    ----------
    steps : int
        Length of a round of training. The rate is low and the round short: on real micrographs, steps further
        away from the warm start lost more than they won.
    peak_rate : float
        Highest learning rate of AdamW in it; a longer round is given a lower one.
    warm_up : float
        Share of a round in which the rate rises; then it falls as a cosine.
    weight_decay : float
    smoothing : float
        Label smoothing of the cross-entropy.
    jitter : float
        Standard deviation of random gain and offset per piece and channel, in normalised units.
    averaging : float
        Decay a step of the running average of weights that predicts.
    flips : int
        Symmetries averaged at prediction: 1, 2, 4 or 8. Eight take twice the time of four and gained next to
        nothing (bench/QUALITY_LOG.md).
    """

    steps: int = 30
    peak_rate: float = 1e-5
    warm_up: float = 0.15
    weight_decay: float = 1e-2
    smoothing: float = 0.0
    jitter: float = 0.05
    averaging: float = 0.9
    flips: int = 4


class Learner:
    """A patch classifier with its optimiser.

    Every random draw comes from the seed and the step number, so a run on the CPU repeats bit for bit, and
    the caller's own random state is left alone.
    """

    def __init__(self, spec: NetworkSpec, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.spec = spec
        self.recipe = recipe
        self.steps = 0
        self._seed = seed
        self._device = device
        with self._randomness(-1):
            network = spec.build()
        parameters = dict(network.named_parameters())
        self._shapes = {name: parameter.shape for name, parameter in parameters.items()}
        # The network lends its structure; what learns is one vector, in the order of its parameters.
        self._network = network.to(device).train()
        self._dense = densify(self._network)
        self._sites = _AtSites(self._dense)
        self._vector = torch.cat([p.detach().flatten() for p in parameters.values()]).to(device)
        self._vector.requires_grad_()
        self._average = self._vector.detach().clone()
        self._optimiser = AdamW(self._vector, recipe.weight_decay)
        self._warm = warm_start(spec)

    def begin(self, moments: Mapping[int, Moments]) -> None:
        """Forget all steps: the warm start, with the last layer fitted to strokes.

        Parameters
        ----------
        moments : mapping of int to Moments
            By class index; features of the painted pixels under the warm start.
        """
        present = sorted(moments)
        weight, bias = self.fit(moments[index] for index in present)
        start = {name: torch.zeros(shape) for name, shape in self._shapes.items()}
        start.update(self._warm.weights)
        for name in start.keys() - self._warm.weights.keys():
            rows = (weight[:, :, None, None] if start[name].ndim == 4 else bias) * self._warm.scale
            start[name][present] = rows.to(start[name].dtype)
        flat = torch.cat([start[name].flatten() for name in self._shapes]).to(self._device)
        with torch.no_grad():
            self._vector.copy_(flat)
            self._average.copy_(flat)
        self._optimiser = AdamW(self._vector, self.recipe.weight_decay)
        self.steps = 0

    def fit(self, classes: Iterable[Moments]) -> tuple[Tensor, Tensor]:
        """The last layer that `begin` starts with; see `fit_head`."""
        return fit_head(classes, self._warm.ridge, self._warm.caution)

    def step(self, batch: Batch, present: Sequence[int], rate: float) -> float:
        """One step of AdamW on `batch` at learning rate `rate`; the loss in nats."""
        with self._randomness(self.steps), full_float32(self._device):
            symmetry = int(torch.randint(SYMMETRIES, ()))
            pixels = self._jittered(batch)
            logits = self._logits(turn_kernels(self._named(self._vector), symmetry), pixels, batch.closure)
            loss = class_balanced_loss(logits, batch.targets, present, self.recipe.smoothing)
            (gradient,) = torch.autograd.grad(loss, self._vector)
        self._optimiser.step(gradient, rate)
        self.steps += 1
        # A young average follows closely, so that a short round is not lost in its start.
        keep = min(self.recipe.averaging, self.steps / (self.steps + 9))
        self._average.lerp_(self._vector.detach(), 1 - keep)
        return float(loss.detach())

    def predict(self, batch: Batch, present: Sequence[int]) -> Tensor:
        """Class indices (S,) that the averaged weights give to a batch."""
        self._network.eval()
        with torch.no_grad(), full_float32(self._device):
            logits = self._logits(self._named(self._average), batch.pixels, batch.closure)
        self._network.train()
        columns = torch.as_tensor(present, device=logits.device)
        return columns[logits[:, columns].argmax(1)]

    def mean_probabilities(self, scenes: Sequence[Tensor], present: Sequence[int]) -> list[float]:
        """Mean probability of each class in `present` over some scenes, by the averaged weights.

        Parameters
        ----------
        scenes : sequence of Tensor, shape (C, h, w)
            Normalised pixels, at least as large as the patch.
        present : sequence of int
            Class indices that have paint.
        """
        columns = torch.as_tensor(present, device=self._device)
        named = {f"network.{name}": weight for name, weight in self._named(self._average).items()}
        total, pixels = torch.zeros(len(present), device=self._device), 0
        self._network.eval()
        with torch.no_grad(), full_float32(self._device):
            for scene in scenes:
                scores = functional_call(self._dense, named, (scene.to(self._device)[None],))[0, columns]
                total += scores.softmax(0).sum((1, 2))
                pixels += scores[0].numel()
        self._network.train()
        return [float(value) for value in (total / pixels).cpu()]

    def weights(self) -> Mapping[str, Tensor]:
        """The averaged weights on the CPU, named as in the patch classifier."""
        return {name: weight.clone() for name, weight in self._named(self._average.cpu()).items()}

    def _named(self, vector: Tensor) -> dict[str, Tensor]:
        """A vector's parts by parameter name, as views."""
        parts = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        named = zip(self._shapes.items(), parts, strict=True)
        return {name: part.view(shape) for (name, shape), part in named}

    def _logits(self, weights: Mapping[str, Tensor], pixels: Tensor, closure: Closure) -> Tensor:
        named = {f"dense.network.{name}": weight for name, weight in weights.items()}
        logits: Tensor = functional_call(self._sites, named, (pixels, closure))
        return logits

    def _jittered(self, batch: Batch) -> Tensor:
        """Pixels with another gain and offset for each piece and channel."""
        shape = (2, batch.pieces, batch.pixels.shape[1])
        gain, offset = (torch.randn(shape) * self.recipe.jitter).to(self._device)
        jittered: Tensor = batch.pixels * (1 + gain)[batch.piece] + offset[batch.piece]
        return jittered

    def _randomness(self, step: int) -> _Seeded:
        return _Seeded(self._seed * 1_000_003 + step + 1, self._device)


class _AtSites(nn.Module):
    """A dense network's active-site form as a module of its own, for `functional_call`."""

    def __init__(self, dense: DenseNetwork) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, pixels: Tensor, closure: Closure) -> Tensor:
        return self.dense.on_sites(pixels, closure)


class _Seeded:
    """Random draws within come from `seed`; the state outside is as before."""

    def __init__(self, seed: int, device: torch.device) -> None:
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices=devices)
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed % 2**63)

    def __exit__(self, *exc: object) -> None:
        self._fork.__exit__(None, None, None)


def class_balanced_loss(logits: Tensor, targets: Tensor, present: Sequence[int], smoothing: float) -> Tensor:
    """Cross-entropy in which every class present weighs the same, however much of it was painted.

    Parameters
    ----------
    logits : Tensor, shape (S, K)
    targets : Tensor of int64, shape (S,)
        Class indices, from 0, all of them in `present`.
    present : sequence of int
        Class indices that have paint; the other logits take no part.
    smoothing : float
        Share of the target probability spread over the present classes, 0..1.
    """
    columns = torch.as_tensor(present, device=logits.device)
    place = torch.searchsorted(columns, targets)
    counts = torch.bincount(place, minlength=len(columns)).to(logits.dtype)
    weight = (1 / counts.clamp(min=1))[place]
    losses = F.cross_entropy(logits[:, columns], place, label_smoothing=smoothing, reduction="none")
    return (losses * weight).sum() / weight.sum()
