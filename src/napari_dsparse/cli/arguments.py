"""Command-line arguments of ``napari-dsparse``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from napari_dsparse.cli.combinations import check_predict, check_train
from napari_dsparse.cli.object_arguments import add_object_arguments
from napari_dsparse.cli.report import failure_line
from napari_dsparse.machine.memory import parse_size

if TYPE_CHECKING:
    from napari_dsparse.batch.inputs import ChannelAxis

PROGRAM = "napari-dsparse"

#: Values of ``train --depth``, as in `classifier.spec`: parsing arguments needs no network.
DEPTHS = ("off", "neighbours")

#: Values of ``train --normalise``, as in `images`.
NORMALISATIONS = ("together", "image")

#: Values of ``predict --format``.
FORMATS = ("ome-tiff", "ome-zarr", "png", "geojson", "imagej-roi", "coco")

#: Default folder of ``demo``.
DEMO_FOLDER = "demo-output"


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line instead of printing the usage of every option."""

    #: Gives the sentence that refuses arguments which do not go together, or None.
    check: Callable[[argparse.Namespace], str | None] | None = None

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        parsed, rest = super().parse_known_args(args, namespace)
        refusal = None if self.check is None or rest else self.check(parsed)
        if refusal is not None:
            self.error(refusal)
        return parsed, rest

    def error(self, message: str) -> NoReturn:
        sentence = f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help."
        if "--json" in sys.argv:
            print(failure_line(self.prog.removeprefix(PROGRAM).strip() or None, sentence))
        self.exit(2, f"{self.prog}: {sentence}\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed `command` names the module that runs it."""
    parser = _Parser(
        prog=PROGRAM,
        description="Paint a few strokes, get an exact full-resolution segmentation.",
        epilog="Every command exits non-zero and says why in one line if it fails; see COMMAND --help.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for add in (_add_train, _add_predict, _add_demo, _add_doctor):
        add(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _add_train(commands: _Commands) -> None:
    parser = _command(commands, "train", "learn a model from images and painted labels")
    parser.check = check_train
    parser.add_argument("--image", "-i", nargs="+", metavar="FILE", help="image(s) to learn from")
    parser.add_argument(
        "--labels", "-l", nargs="+", metavar="FILE",
        help="painted labels, one file per image, in the same order: 0 = not painted, 1..K = classes",
    )  # fmt: skip
    _add_project(parser, "learn from all images and strokes of this project, which keeps the model")
    parser.add_argument(
        "--output", "-o", metavar="MODEL", help="model to write (.safetensors); not needed with --project"
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="names of classes 1, 2, ...")
    parser.add_argument("--network", default="auto", metavar="NAME", help="patch classifier (default: auto)")
    parser.add_argument(
        "--depth", choices=DEPTHS,
        help="see each plane of a stack alone (off, the default where a project says nothing else), or with "
        "those before and behind it (neighbours)",
    )  # fmt: skip
    parser.add_argument(
        "--normalise", choices=NORMALISATIONS,
        help="grey values of all images in one way (together, the default where a project says nothing "
        "else), or of each image by its own (image), which takes differences in exposure out",
    )  # fmt: skip
    parser.add_argument("--seconds", type=_positive_number, metavar="S", help="limit for learning, all of it")
    parser.add_argument(
        "--steps", type=_positive_count, metavar="N", help="gradient steps that follow the fit (0)"
    )
    parser.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="seed of all randomness (default: 0)"
    )
    _add_device(parser)
    _add_channel_axis(parser)
    _add_series(parser)
    _add_overwrite(parser)


def _add_predict(commands: _Commands) -> None:
    parser = _command(commands, "predict", "segment images with a model")
    parser.check = check_predict
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="image(s) to segment; by default those of the project"
    )
    parser.add_argument("--model", "-m", metavar="MODEL", help="model that `train` or napari saved")
    _add_project(parser, "segment by the model of this project")
    parser.add_argument(
        "--output", "-o", metavar="OUT",
        help="file to write (.ome.tif, .ome.zarr, .png, .geojson, .roi.zip or .coco.json), or a folder for "
        "several images, whose results are called after them: a_segmentation for a.tif (images of one name "
        "get their folders' names before it, or the suffix behind it: a.tif and a.npy give a_tif and a_npy); "
        "by default, for the images of NAME.dsparse, the folder NAME_segmentation beside it",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, help="format in a folder (default: ome-tiff)")
    parser.add_argument("--probabilities", action="store_true", help="also write class probabilities")
    parser.add_argument("--uncertainty", action="store_true", help="also write the uncertainty map")
    parser.add_argument(
        "--objects", action="store_true", help="also write numbered objects of every class but the first"
    )
    parser.add_argument("--measurements", action="store_true", help="also write a table of objects (CSV)")
    parser.add_argument(
        "--table", metavar="FILE", help="also write one table of the objects of all images (CSV)"
    )
    add_object_arguments(parser, _count, _share)
    parser.add_argument(
        "--scheduler", metavar="WHERE",
        help="compute on the workers of a dask scheduler: its address (tcp://...), the file it wrote, a YAML "
        "file for dask-jobqueue, or local: a worker for every core here (extra `cluster`)",
    )  # fmt: skip
    parser.add_argument(
        "--wait", type=_positive_number, metavar="SECONDS",
        help="how long to wait for the scheduler to answer (default: 10), and for its workers, for those in "
        "a queue (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", default="float32", metavar="P",
        help="float32 (default), or bfloat16: faster where the processor has it, less exact near ties",
    )  # fmt: skip
    parser.add_argument(
        "--normalise", choices=("model", "image"), default="model",
        help="grey values as the model learned (default), or by each image's own: another exposure",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=_size, metavar="SIZE",
        help="most memory to take, such as 800MB, 2GB or 1.5GiB (default: half of what is free)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", "-j", type=_positive_count, metavar="N", default=1,
        help="images segmented at a time, sharing cores and memory (default: 1): pays where many are small",
    )  # fmt: skip
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from what an interrupted run has computed: tiles, and of several images those finished",
    )
    _add_device(parser)
    _add_channel_axis(parser)
    _add_series(parser)
    _add_overwrite(parser)


def _add_demo(commands: _Commands) -> None:
    parser = _command(commands, "demo", "learn from the strokes of a bundled image and show the result")
    parser.add_argument("--headless", action="store_true", help="write the files, open no window")
    parser.add_argument(
        "--output",
        "-o",
        default=DEMO_FOLDER,
        metavar="DIR",
        help=f"folder to write to (default: {DEMO_FOLDER})",
    )
    parser.add_argument(
        "--sample", default="nuclei", metavar="NAME", help="nuclei (default), tissue or phase"
    )
    _add_device(parser)
    _add_overwrite(parser)


def _add_doctor(commands: _Commands) -> None:
    parser = _command(commands, "doctor", "say what this machine can do, and why it cannot do the rest")
    parser.add_argument("--plan", action="store_true", help="say in what form each layer predicts on a CPU")


def _command(commands: _Commands, name: str, what: str) -> _Parser:
    parser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error came from (for developers)"
    )
    return parser


def _add_project(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--project", "-p", metavar="NAME.dsparse", help=what)
    parser.add_argument(
        "--image-folder", action="append", metavar="DIR",
        help="folder to search for images of the project that were moved; may be repeated",
    )  # fmt: skip


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:1, mps"
    )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_channel_axis(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channel-axis", type=_channel_axis, default="auto", metavar="AXIS",
        help="axis that holds the channels (0, -1, ...), none, or auto (default: what the file says)",
    )  # fmt: skip


def _add_series(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--series", type=_count, metavar="N",
        help="which image of files with several, from 0 (default: the largest)",
    )  # fmt: skip


def _channel_axis(text: str) -> ChannelAxis:
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no axis; give a whole number, none or auto") from None


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _positive_count(text: str) -> int:
    return _whole(text, 1)


def _count(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)
