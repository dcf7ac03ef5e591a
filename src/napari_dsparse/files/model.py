"""Classifiers on disk: tensors and a description in one safetensors file, with nothing in it to execute."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_dsparse.checks import is_pipe
from napari_dsparse.classifier.spec import NetworkSpec
from napari_dsparse.classifier.trained import TrainedClassifier
from napari_dsparse.errors import ModelFileError
from napari_dsparse.files.atomic import complete_or_absent
from napari_dsparse.files.description import describe, read_description

#: The one metadata entry of the file: with several, equal classifiers would not always make equal bytes.
_ENTRY = "napari-dsparse"

#: Bytes a header may have; real ones have some thousand.
_LONGEST_HEADER = 16 * 2**20

#: Weights are smaller by far; products of larger ones over the layers would leave float32.
_LARGEST_WEIGHT = 1e6

_CHECKSUM = re.compile(r', "checksum": "[0-9a-f]{32}"\}$')

_DTYPES = {"F32": torch.float32, "I64": torch.int64}


def save_classifier(
    classifier: TrainedClassifier, path: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a classifier to one safetensors file.

    Parameters
    ----------
    classifier : TrainedClassifier
    path : path-like
        By custom it ends in ``.safetensors``; the name is used as it is.
    overwrite : bool
        True if an existing file may be replaced.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    ExportError
        If the file exists and may not be replaced, or cannot be written; nothing is left behind then.
    """
    tensors = _tensors(classifier)
    with complete_or_absent(path, overwrite=overwrite) as partial:
        # Not `save_file`, whose files only their owner may read, whatever the umask says.
        partial.write_bytes(save(tensors, {_ENTRY: _with_checksum(describe(classifier), tensors)}))
    return Path(path)


def read_classifier(path: str | os.PathLike[str]) -> TrainedClassifier:
    """Read a classifier back.

    The file may come from anywhere: nothing in it is executed, and every size it claims is held against the
    network it names before memory is taken for weights.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    TrainedClassifier

    Raises
    ------
    ModelFileError
        If there is no such file, or it is not a model, is damaged, or was written by a newer version.
    """
    file = str(path)
    _check_is_safetensors(file)
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            text = (opened.metadata() or {}).get(_ENTRY)
            if text is None:
                raise ModelFileError(
                    f"File {file!r} holds tensors but no napari-dsparse model; "
                    "choose a file that napari-dsparse has saved."
                )
            classifier = read_description(text, file)
            expected = _expected_weights(classifier.spec)
            _check_sizes(opened, expected, file)
            # Cloned: safetensors' own tensors are in the mapped file, which may be replaced meanwhile.
            weights = {name: opened.get_tensor(name).clone() for name in expected}
    except (SafetensorError, OSError) as error:
        raise _damaged(file, "its header and its length do not agree") from error
    stated = _CHECKSUM.search(text)
    # Files of the first versions have none: they end with the training record, an object.
    whole = text.endswith("}}") if stated is None else False
    if stated is not None:
        whole = _with_checksum(f"{text[: stated.start()]}}}", weights) == text
    if not whole:
        raise _damaged(file, "its checksum does not agree with its content")
    if not all(bool((tensor.abs() <= _LARGEST_WEIGHT).all()) for tensor in weights.values()):  # NaN is not
        raise ModelFileError(
            f"Model file {file!r} holds weights that are no finite numbers up to {_LARGEST_WEIGHT:g}; "
            "train and save the model again."
        )
    return replace(classifier, weights=weights)


def checksum(classifier: TrainedClassifier) -> str:
    """A hash of all that a file of this classifier holds, in hexadecimal."""
    return _with_checksum(describe(classifier), _tensors(classifier))[-34:-2]


def _tensors(classifier: TrainedClassifier) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.weights.items()}


def _with_checksum(description: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """The description with a checksum over itself and all weights as its last entry."""
    digest = hashlib.blake2b(description.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().tobytes())
    return f'{description[:-1]}, "checksum": "{digest.hexdigest()}"}}'


def _check_is_safetensors(file: str) -> None:
    """Refuse files that are clearly of another kind, with a sentence that says so."""
    if is_pipe(file):
        raise ModelFileError(f"{file!r} is a pipe or a device, no file; copy it to a file and give that.")
    try:
        with open(file, "rb") as opened:
            start = opened.read(9)
            length = os.fstat(opened.fileno()).st_size
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFileError(
            f"Model file {file!r} cannot be opened ({reason}); choose a file that napari-dsparse has saved."
        ) from error
    header = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or header > _LONGEST_HEADER:
        what = "a napari-dsparse model"
        if start.startswith((b"PK", b"\x80")):
            what += " but a zip archive or pickle, which could run code and is never loaded"
        raise ModelFileError(
            f"File {file!r} is not {what}; choose a .safetensors file that napari-dsparse has saved."
        )
    if header + 8 > length:
        raise _damaged(file, f"it has {length} bytes and its header alone {header + 8}")


def _expected_weights(spec: NetworkSpec) -> Mapping[str, torch.Tensor]:
    """Name, shape and dtype of a network's weights, on the meta device: as tensors that hold no memory."""
    with torch.device("meta"):
        return spec.build().state_dict()


def _check_sizes(opened: Any, expected: Mapping[str, torch.Tensor], file: str) -> None:
    found = set(opened.keys())
    if found != set(expected):
        wrong = sorted(found ^ set(expected))[0]
        verb = "holds no" if wrong in expected else "holds an unknown"
        raise ModelFileError(
            f"Model file {file!r} {verb} tensor {wrong[:80]!r}; it does not fit the network it names, "
            "save the model again."
        )
    for name, tensor in expected.items():
        entry = opened.get_slice(name)
        shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
        if shape != tuple(tensor.shape) or _DTYPES.get(dtype) != tensor.dtype:
            raise ModelFileError(
                f"Model file {file!r} holds {name!r} as {dtype} of shape {shape}, but its network has "
                f"{tensor.dtype} of shape {tuple(tensor.shape)}; save the model again."
            )


def _damaged(file: str, why: str) -> ModelFileError:
    return ModelFileError(f"Model file {file!r} is damaged ({why}); copy it again from where it was saved.")
