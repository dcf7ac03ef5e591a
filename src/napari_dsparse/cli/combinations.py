"""Arguments that need or exclude one another: each wrong combination is one sentence."""

from __future__ import annotations

import argparse

from napari_dsparse.cli.object_arguments import given_options

_REQUIRED = "the following arguments are required: {}"


def check_train(arguments: argparse.Namespace) -> str | None:
    """The sentence that refuses arguments of `train`, or None."""
    if arguments.project is None:
        given = {
            "--image/-i": arguments.image,
            "--labels/-l": arguments.labels,
            "--output/-o": arguments.output,
        }
        missing = [name for name, value in given.items() if value is None]
        if len(missing) == len(given):
            return _REQUIRED.format(f"{', '.join(missing)}, or --project")
        if missing:
            return _REQUIRED.format(", ".join(missing))
        return _image_folder_alone(arguments)
    own = {
        "--image": arguments.image,
        "--labels": arguments.labels,
        "--classes": arguments.classes,
        **_reading(arguments),
    }
    for name, value in own.items():
        if value is not None:
            return f"a project has its own images, labels and classes; drop {name} or --project"
    return None


def check_predict(arguments: argparse.Namespace) -> str | None:
    """The sentence that refuses arguments of `predict`, or None."""
    if arguments.memory is not None and arguments.scheduler is not None:
        return "--memory is for computing in this process, and --scheduler for others; drop one of them"
    if arguments.jobs > 1 and arguments.scheduler is not None:
        return "--jobs is for computing in this process, and --scheduler for others; drop one of them"
    if arguments.wait is not None and arguments.scheduler is None:
        return "--wait is for workers of a --scheduler; add that, or drop it"
    of_objects = arguments.objects or arguments.measurements or arguments.table is not None
    unused = [] if of_objects else given_options(arguments)
    if unused:
        return f"{unused[0]} is about objects; add --objects, --measurements or --table, or drop it"
    if arguments.table is not None and not arguments.table.lower().endswith(".csv"):
        return f"--table {arguments.table!r} is a CSV file; end its name in .csv"
    if arguments.project is None:
        given = {
            "--model/-m or --project": arguments.model,
            "--output/-o": arguments.output,
            "IMAGE": arguments.images or None,
        }
        missing = [name for name, value in given.items() if value is None]
        return _REQUIRED.format(", ".join(missing)) if missing else _image_folder_alone(arguments)
    if arguments.model is not None:
        return "--model and --project both name a model; drop one of them"
    if arguments.images:
        if arguments.image_folder is not None:
            return "--image-folder is for images of the project, but others are named; drop it"
        if arguments.output is None:
            return "images that are not the project's need a place for their results; add --output"
        return None
    for name, value in _reading(arguments).items():
        if value is not None:
            return f"a project knows how its images are read; drop {name}, or name other images"
    return None


def _reading(arguments: argparse.Namespace) -> dict[str, object]:
    """Options on how images are read; None for those not given."""
    axis = arguments.channel_axis
    return {"--channel-axis": None if axis == "auto" else str(axis), "--series": arguments.series}


def _image_folder_alone(arguments: argparse.Namespace) -> str | None:
    if arguments.image_folder is None:
        return None
    return "--image-folder finds images of a project; add --project or drop it"
