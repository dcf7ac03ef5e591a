"""The file of a warm start: written as `classifier.warm_start` reads it, and read to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_dsparse.errors import ModelFileError
from napari_dsparse.files.atomic import complete_or_absent
from pretraining.head import RidgeHead

#: Keys in a file for the parameters of the head, by argument of `RidgeHead`.
HEAD_KEYS = {"ridge": "head.ridge", "scale": "head.scale", "small_sample_penalty": "head.caution"}


def write(path: Path, trunk: nn.Module, head: RidgeHead) -> None:
    """Write trunk and head, whole or not at all; what had that name before is replaced.

    Raises
    ------
    ExportError
        If the folder does not exist or the system refuses to write.
    """
    tensors = {name: weight.detach().contiguous() for name, weight in trunk.state_dict().items()}
    tensors |= {key: getattr(head, name).detach() for name, key in HEAD_KEYS.items()}
    with complete_or_absent(path, overwrite=True) as partial:
        save_file(tensors, str(partial))


def read(path: Path, trunk: nn.Module) -> RidgeHead:
    """Take over the trunk's weights from a file, in place, and give back the head.

    A file whose last layer is narrower is welcome: it fills the first rows, the others stay as they are.

    Raises
    ------
    ModelFileError
        If the file cannot be read, or is of another network.
    """
    try:
        stored = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            f"{str(path)!r} cannot be read ({error}); give a file of a warm start."
        ) from error
    own = trunk.state_dict()
    last = list(own)[-1].rpartition(".")[0]
    if stored.keys() != own.keys() | set(HEAD_KEYS.values()) or not all(
        _fits(stored[name].shape, weight.shape, name.rpartition(".")[0] == last)
        for name, weight in own.items()
    ):
        raise ModelFileError(
            f"{str(path)!r} is of another network: it holds {_described(stored)}, and this one has "
            f"{_described(own)}; give a file of the same layers, of which the last may be narrower."
        )
    with torch.no_grad():
        for name, weight in own.items():
            weight[: len(stored[name])] = stored[name]
    return RidgeHead(**{name: float(stored[key]) for name, key in HEAD_KEYS.items()})


def _fits(stored: torch.Size, own: torch.Size, last: bool) -> bool:
    return stored == own or (
        last and len(stored) == len(own) and stored[0] < own[0] and stored[1:] == own[1:]
    )


def _described(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))
