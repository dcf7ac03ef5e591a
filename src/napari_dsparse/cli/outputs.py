"""Output paths: chosen, and refused, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_dsparse.errors import ExportError
from napari_dsparse.files.export import SUFFIXES

#: What image names may end in, beside our own suffixes: removed to name the results.
_IMAGE_SUFFIXES = (*(s for group in SUFFIXES.values() for s in group), ".jpg", ".jpeg", ".bmp", ".npy")


@dataclass(frozen=True, slots=True)
class Outputs:
    """Final paths of the results for one image; None = not requested."""

    labels: Path
    probabilities: Path | None
    uncertainty: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths."""
        return tuple(p for p in (self.labels, self.probabilities, self.uncertainty) if p is not None)


def plan_outputs(
    images: Sequence[Path],
    output: Path,
    chosen_format: str | None,
    *,
    probabilities: bool,
    uncertainty: bool,
) -> tuple[Outputs, ...]:
    """Names of the results, one entry per image.

    `output` is a file where it ends in a suffix we write, and a folder otherwise. In a folder the labels of
    ``cells.tif`` are called ``cells_segmentation`` and the suffix of the format.

    Raises
    ------
    ExportError
        If `output` is one file for several images, has another suffix than the format, or two images would
        be written under one name.
    """
    named = _format_of(output)
    if named is None and output.suffix and not output.is_dir():
        raise ExportError(
            f"Output {output} ends in {output.suffix!r}, which we do not write; give a folder or a file in "
            f"{', '.join(group[0] for group in SUFFIXES.values())}."
        )
    if named is None:
        suffix = SUFFIXES[chosen_format or "ome-tiff"][0]
        bases = [output / _stem(image) for image in images]
        labels = [base.with_name(f"{base.name}_segmentation{suffix}") for base in bases]
    else:
        if chosen_format not in (None, named):
            raise ExportError(
                f"Output {output} is {named} by its name, not {chosen_format}; drop one of the two."
            )
        if len(images) > 1:
            raise ExportError(f"{len(images)} images cannot go into the one file {output}; name a folder.")
        bases = [output.with_name(_stem(output))]
        labels = [output]
    planned = tuple(
        Outputs(
            label,
            base.with_name(f"{base.name}_probabilities.ome.tif") if probabilities else None,
            base.with_name(f"{base.name}_uncertainty.ome.tif") if uncertainty else None,
        )
        for base, label in zip(bases, labels, strict=True)
    )
    every = [path for outputs in planned for path in outputs.paths]
    twice = next((path for path in every if every.count(path) > 1), None)
    if twice is not None:
        raise ExportError(f"Two results would both be called {twice}; rename an image or segment them apart.")
    return planned


def check_writable(
    outputs: Sequence[Path], inputs: Sequence[Path], *, overwrite: bool, make_parents: bool = False
) -> None:
    """Refuse, before anything is computed, what would be refused at the end.

    Raises
    ------
    ExportError
        If an output exists and `overwrite` is not given, if it is one of the inputs, or if there is no
        folder to write it to.
    """
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise ExportError(f"Output {path} is one of the inputs; choose another name.")
        if path.exists() and not overwrite:
            raise ExportError(f"Output {path} exists; choose another name or pass --overwrite.")
        if not make_parents and not path.parent.is_dir():
            raise ExportError(f"Folder {path.parent} does not exist; make it or choose another one.")


def _format_of(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if name.endswith(suffixes)), None)


def _stem(path: Path) -> str:
    """The name without its suffix, of which ``.ome.tif`` is one."""
    suffix = next((s for s in _IMAGE_SUFFIXES if path.name.lower().endswith(s)), path.suffix)
    return path.name[: len(path.name) - len(suffix)] or path.name
