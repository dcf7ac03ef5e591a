"""Projects named on the command line: their images, as commands read them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_dsparse.batch.inputs import InputImage, WantedImage, read_input, told_apart
from napari_dsparse.files.project_description import ProjectImage
from napari_dsparse.images.reading import Expected
from napari_dsparse.project import Project


def open_project(arguments: argparse.Namespace, *, read_only: bool = False) -> Project:
    """The project that is named, with the folders to search for its images."""
    return Project.open(arguments.project, image_folders=arguments.image_folder or (), read_only=read_only)


def images_of(project: Project) -> list[WantedImage]:
    """All images of a project; one that was moved is searched when it is opened.

    Images of one name get that of their folder before it, so that their results differ.
    """
    # (one in no file is refused when it is opened)
    places = [
        project.folder / image.path if image.path else image.absolute_path or image.name
        for image in project.images
    ]
    pairs = [
        (Path(os.path.abspath(place)), image) for place, image in zip(places, project.images, strict=True)
    ]
    names = told_apart([path.with_name(image.name) for path, image in pairs])
    return [
        WantedImage(path, name, partial(_open, project, image))
        for (path, image), name in zip(pairs, names, strict=True)
    ]


def remarks_on_moves(before: Sequence[ProjectImage], after: Sequence[ProjectImage]) -> list[str]:
    """A sentence for each image that was found in another place than recorded."""
    return [
        f"{new.name} was moved and found at {new.absolute_path}."
        for old, new in zip(before, after, strict=True)
        if old.path != new.path and old.absolute_path != new.absolute_path
    ]


def _open(project: Project, image: ProjectImage, expected: Expected) -> InputImage:
    found = project.find(image)
    series = image.fingerprint.series
    opened = read_input(found.path, image.channel_axis, expected=expected, series=series)
    return replace(opened, remarks=(*remarks_on_moves([image], [found.image]), *opened.remarks))
