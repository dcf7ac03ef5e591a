"""One network learning from batches of strokes: loss, augmentation, schedule, averaged weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from napari_dsparse.classifier import NetworkSpec
from napari_dsparse.classifier.warm_start import warm_start
from napari_dsparse.machine.devices import full_float32
from napari_dsparse.network import DenseNetwork, densify
from napari_dsparse.network.symmetry import SYMMETRIES, turn_kernels
from napari_dsparse.sites import Closure
from napari_dsparse.training.adamw import AdamW
from napari_dsparse.training.batch import Batch


@dataclass(frozen=True, slots=True)
class Recipe:
    """The fixed training recipe; one for all images.

    Parameters
    ----------
    steps : int
        Gradient steps that follow the fit of the last layer by default: none, since on average they gain
        nothing (bench/QUALITY_LOG.md).
    round_steps : int
        Length of a requested round. The rate is low and the round short: on real micrographs, steps
        further away from the warm start lost more than they won.
    peak_rate : float
        Highest learning rate of AdamW in it; a longer round is given a lower one.
    warm_up : float
        Share of a round in which the rate rises; then it falls as a cosine.
    weight_decay : float
    jitter : float
        Standard deviation of random gain and offset per piece and channel, in normalised units.
    averaging : float
        Decay per step of the running average of weights that predicts.
    n_symmetries : int
        Symmetries averaged at prediction: 1, 2, 4 or 8. Four take four times as long as one and gained 0.004
        of mean IoU (bench/QUALITY_LOG.md).
    """

    steps: int = 0
    round_steps: int = 30
    peak_rate: float = 1e-5
    warm_up: float = 0.15
    weight_decay: float = 1e-2
    jitter: float = 0.05
    averaging: float = 0.9
    n_symmetries: int = 1


class Learner:
    """A patch classifier with its optimiser.

    Every random draw comes from the seed and the step number, so a run on the CPU repeats bit for bit, and
    the caller's random state is unchanged.
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
        # Only the structure of the network is used; the parameters learned are one vector, in its order.
        self._network = network.to(device).train()
        self._dense = densify(self._network)
        self._sites = _AtSites(self._dense)
        self._vector = torch.cat([p.detach().flatten() for p in parameters.values()]).to(device)
        self._vector.requires_grad_()
        self._average = self._vector.detach().clone()
        self._optimiser = AdamW(self._vector, recipe.weight_decay)
        self._warm = warm_start(spec)

    def begin(self, weight: Tensor, bias: Tensor, present: Sequence[int]) -> None:
        """Forget all steps: the warm start, with a last layer that was fitted to it.

        Parameters
        ----------
        weight : Tensor, shape (classes present, F1 + F2 + ...)
            One row per class in `present`, its groups of features one after another; see `Head.fit`.
        bias : Tensor, shape (classes present,)
        present : sequence of int
            Class indices.
        """
        start = {name: torch.zeros(shape) for name, shape in self._shapes.items()}
        start.update(self._warm.weights)
        head_weight, head_bias = (name for name in self._shapes if name not in self._warm.weights)
        scaled, offset = (weight * self._warm.scale).float(), (bias * self._warm.scale).float()
        for number, part in enumerate(torch.split(scaled, self.spec.features, 1)):
            rows = [number * self.spec.classes + index for index in present]
            start[head_weight][rows] = part[:, :, None, None]
        # A window's mean of a bias is the bias: one is enough.
        start[head_bias][list(present)] = offset
        flat = torch.cat([start[name].flatten() for name in self._shapes]).to(self._device)
        with torch.no_grad():
            self._vector.copy_(flat)
            self._average.copy_(flat)
        self._optimiser = AdamW(self._vector, self.recipe.weight_decay)
        self.steps = 0

    def step(self, batch: Batch, present: Sequence[int], rate: float) -> float:
        """One step of AdamW on `batch` at learning rate `rate`; the loss in nats."""
        with self._randomness(self.steps), full_float32(self._device):
            symmetry = int(torch.randint(SYMMETRIES, ()))
            pixels = self._jittered(batch)
            logits = self._logits(turn_kernels(self._named(self._vector), symmetry), pixels, batch.closure)
            loss = class_balanced_loss(logits, batch.targets, batch.weights, present)
            (gradient,) = torch.autograd.grad(loss, self._vector)
        self._optimiser.step(gradient, rate)
        self.steps += 1
        # A new average follows closely, so that the start does not dominate a short round.
        keep = min(self.recipe.averaging, self.steps / (self.steps + 9))
        self._average.lerp_(self._vector.detach(), 1 - keep)
        return float(loss.detach())

    def trunk(self) -> nn.Sequential:
        """The layers before the last with averaged weights, as they are now."""
        prefix, averaged = self.spec.prefixes[0], self._named(self._average.clone())
        layers = self.spec.empty_trunk()
        named = {name.removeprefix(prefix): averaged[name] for name in self._warm.weights}
        layers.load_state_dict(named, assign=True)
        return layers.eval().requires_grad_(False)

    def last_layer(self, present: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Averaged weights (classes present, F1 + F2 + ...) and bias of the last layer, on the CPU."""
        averaged = self._named(self._average.cpu())
        weight, bias = (averaged[name] for name in self._shapes if name not in self._warm.weights)
        groups = weight[:, :, 0, 0].view(-1, self.spec.classes, self.spec.features)[:, list(present)]
        # A window's mean of a bias is the bias.
        return groups.transpose(0, 1).flatten(1), bias.view(-1, self.spec.classes).sum(0)[list(present)]

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
    """Context whose random draws come from `seed`; the state outside is restored."""

    def __init__(self, seed: int, device: torch.device) -> None:
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices=devices)
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed % 2**63)

    def __exit__(self, *exc: object) -> None:
        self._fork.__exit__(None, None, None)


def class_balanced_loss(logits: Tensor, targets: Tensor, weights: Tensor, present: Sequence[int]) -> Tensor:
    """Cross-entropy in which every class present weighs the same, however much of it was painted.

    Parameters
    ----------
    logits : Tensor, shape (S, K)
    targets : Tensor of int64, shape (S,)
        Class indices, from 0, all of them in `present`.
    weights : Tensor, shape (S,)
        What a pixel counts for within its class; positive.
    present : sequence of int
        Class indices that have paint; the other logits take no part.
    """
    columns = torch.as_tensor(present, device=logits.device)
    place = torch.searchsorted(columns, targets)
    totals = logits.new_zeros(len(columns)).index_add_(0, place, weights.to(logits.dtype))
    weight = weights.to(logits.dtype) / totals[place]
    losses = F.cross_entropy(logits[:, columns], place, reduction="none")
    return (losses * weight).sum() / weight.sum()
