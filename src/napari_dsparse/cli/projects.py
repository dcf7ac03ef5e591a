"""Projects named on the command line: their images, as commands read them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_dsparse.batch.inputs import InputImage, WantedImage, input_of, read_input, told_apart
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.images import resolve_image
from napari_dsparse.images.reading import Expected
from napari_dsparse.project import Project


def open_project(arguments: argparse.Namespace, *, read_only: bool = False) -> Project:
    """The project that is named, with the folders to search for its images."""
    return Project.open(arguments.project, image_folders=arguments.image_folder or (), read_only=read_only)


def images_of(project: Project) -> list[WantedImage]:
    """All images of a project; one that was moved is searched when it is opened.

    Images of one name get that of their folder before it, so that their results differ.
    """
    pairs = [(_place(project, image), image) for image in project.images]
    names = told_apart([path.with_name(image.name) for path, image in pairs])
    return [
        WantedImage(path, name, partial(_open, project, image), learned_from=image.strokes is not None)
        for (path, image), name in zip(pairs, names, strict=True)
    ]


def remarks_on_moves(before: Sequence[ProjectImage], after: Sequence[ProjectImage]) -> list[str]:
    """A sentence for each image that was found in another place than recorded."""
    remarks = []
    for old, new in zip(before, after, strict=True):
        if old.path != new.path and old.absolute_path != new.absolute_path:
            remarks.append(f"{new.name} was moved and found at {new.absolute_path}.")
        remarks += remarks_on_moves(old.channels, new.channels)
    return remarks


def _place(project: Project, image: ProjectImage) -> Path:
    """The file of an image, as far as that is known; of one that is combined, beside its first channel."""
    if image.channels:
        return _place(project, image.channels[0]).with_name(image.name)
    # (one in no file is refused when it is opened)
    place = project.folder / image.path if image.path else image.absolute_path or image.name
    return Path(os.path.abspath(place))


def _open(project: Project, image: ProjectImage, expected: Expected) -> InputImage:
    found = project.find(image)
    if image.channels:
        # (a combination has its channels in front, which the model that fits it need not have)
        resolve_image(found.source.data, channels=expected.channels, channel_axis=0, name=image.name)
        opened = input_of(found.file, found.source)
    else:
        series = image.fingerprint.series
        opened = read_input(found.path, image.channel_axis, expected=expected, series=series)
    return replace(opened, remarks=(*remarks_on_moves([image], [found.image]), *opened.remarks))
