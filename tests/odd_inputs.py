"""Odd arguments of the Python API and of the command line, as a table: what is given, and what comes of it.

"right": it does what was asked. Anything else is a word of the one clear sentence that refuses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAN, INF = float("nan"), float("inf")

#: 64 x 64 pixels of two kinds, left and right, and strokes on both.
IMAGE = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
IMAGE[:, 32:] += 6
STROKES = np.zeros((64, 64), np.uint8)
STROKES[5:20, 5:10], STROKES[5:20, 50:55] = 1, 2

WIDE = IMAGE.astype(np.float64)

#: Arguments of `train` beside image and labels.
TRAIN: list[tuple[str, Any, str]] = [
    ("seed", 2**64 - 1, "2**63 - 1"),
    ("seed", 2**63, "2**63 - 1"),
    ("seed", 2**63 - 1, "right"),
    ("seed", True, "True"),
    ("seed", -1, "-1"),
    ("seed", 1.5, "1.5"),
    ("seed", "a", "'a'"),
    ("seed", None, "None"),
    ("seed", np.int64(3), "right"),
    ("seed", [1], "[1]"),
    ("steps", -1, "-1"),
    ("steps", 1.5, "1.5"),
    ("steps", True, "True"),
    ("steps", "3", "'3'"),
    ("steps", NAN, "nan"),
    ("steps", np.int32(2), "right"),
    ("seconds", -1, "-1"),
    ("seconds", NAN, "nan"),
    ("seconds", INF, "inf"),
    ("seconds", "3", "'3'"),
    ("seconds", True, "True"),
    ("seconds", 0, "right"),
    ("seconds", np.float32(0.5), "right"),
    ("classes", [1, 2], "name of class 1 is 1"),
    ("classes", "ab", "a list of their names"),
    ("classes", [], "a list of their names"),
    ("classes", {"a": 1}, "a list of their names"),
    ("classes", ["a"], "there are 1 classes"),
    ("classes", ["a", None], "name of class 2 is None"),
    ("classes", ["a", ""], "printable characters"),
    ("classes", ["a", "\x1b[31mred"], "printable characters"),
    ("classes", ["a", "\ud800"], "printable characters"),
    ("classes", ["a", "b\nc"], "printable characters"),
    ("classes", ["a"] * 2000, "too many"),
    ("classes", ("a", "b"), "right"),
    ("classes", ["a", "b" * 300], "right"),
    ("classes", ["a", "b" * 17_000_000], "1000 at most"),  # saved, it would not load
    ("classes", ["µm", "核"], "right"),
    ("network", "x", "context, compact"),
    ("network", 3, "give a text"),
    ("network", None, "give a text"),
    ("network", ["auto"], "give a text"),
    ("device", "tpu", "auto, "),
    ("device", 3, "give a text"),
    ("device", None, "give a text"),
    ("device", "cuda:99", "auto, "),
    ("channel_axis", 1.5, "whole number"),
    ("channel_axis", "x", "whole number"),
    ("channel_axis", True, "whole number"),
    ("channel_axis", (0,), "whole number"),
    ("channel_axis", 9, "9 is not one of them"),
    ("channel_axis", -9, "-9 is not one of them"),
    ("channel_axis", None, "right"),
    ("progress", 3, "give a function"),
    ("progress", "x", "give a function"),
    ("stop", 3, "threading.Event"),
    ("stop", "x", "threading.Event"),
]

#: Images and labels that `train` gets.
PAIRS: list[tuple[str, Any, Any, str]] = [
    ("labels as a list", IMAGE, STROKES.tolist(), "two lists of equal length"),
    ("both as lists", IMAGE.tolist(), STROKES.tolist(), "not an array"),
    ("no labels", IMAGE, None, "not an array"),
    ("float labels", IMAGE, STROKES.astype(float), "must be integers"),
    ("negative labels", IMAGE, STROKES.astype(int) - 1, "hold -1"),
    ("labels beyond 63 bits", IMAGE, STROKES.astype(np.uint64) * 2**62, "1000 at most"),
    ("numbered objects", IMAGE, STROKES.astype(np.uint32) * 40_000, "the number of their class"),
    ("one class", IMAGE, (STROKES > 0).astype(np.uint8), "paint at least two"),
    ("no paint", IMAGE, STROKES * 0, "no class is painted"),
    ("one axis", IMAGE[0], STROKES[0], "rows and columns"),
    ("labels of another shape", IMAGE, STROKES[:5], "labels have shape (5, 64)"),
    ("no image", None, STROKES, "not an array"),
    ("complex", IMAGE.astype(complex), STROKES, "complex128"),
    ("objects", IMAGE.astype(object), STROKES, "object"),
    ("texts", IMAGE.astype(str), STROKES, "<U"),
    ("times", IMAGE.astype("M8[s]"), STROKES, "datetime64"),
    ("beyond float32", WIDE * 1e300, STROKES, "does not tell apart"),
    ("below float32", WIDE * 1e-300, STROKES, "does not tell apart"),
    ("far from zero", WIDE + 1e12, STROKES, "does not tell apart"),
    ("integers far from zero", (WIDE * 10).astype(np.int64) + 2**40, STROKES, "does not tell apart"),
    ("no finite pixel", IMAGE * NAN, STROKES, "no finite pixel"),
    ("no pixel", IMAGE[:0], STROKES[:0], "at least one pixel"),
    ("nothing", [], [], "at least one"),
    ("two and one", [IMAGE, IMAGE], [STROKES], "2 images and 1 label arrays"),
    ("other channels", [IMAGE, np.stack([IMAGE] * 2)], [STROKES, STROKES], "equally many"),
    ("some infinite", np.where(IMAGE > 5, INF, IMAGE), STROKES, "right"),
    ("truths", IMAGE > 3, STROKES, "right"),
    ("constant", IMAGE * 0, STROKES, "right"),
    ("half precision", IMAGE.astype(np.float16), STROKES, "right"),
    ("long double", IMAGE.astype(np.longdouble), STROKES, "right"),
    ("big endian", IMAGE.astype(">f4"), STROKES.astype(">i4"), "right"),
    ("masked", np.ma.masked_less(IMAGE, -1), STROKES, "right"),
    ("masked labels", IMAGE, np.ma.masked_equal(STROKES, 3), "right"),
    ("truths as labels of one", [IMAGE, IMAGE], [STROKES == 1, STROKES], "right"),
]

#: Names of files, for `Model.save` and for `load_model`; "{folder}" is an empty folder.
PATHS: list[tuple[Any, str, str]] = [
    ("", "name of a file", "name of a file"),
    ("a\0b", "name of a file", "name of a file"),
    (None, "name of a file", "name of a file"),
    (3, "name of a file", "name of a file"),
    (b"x", "name of a file", "name of a file"),
    ("{folder}/none/x.safetensors", "does not exist", "cannot be opened"),
    ("{folder}", "already exists", "cannot be opened"),
    ("{folder}/" + "x" * 300, "name too long", "cannot be opened"),
    ("{folder}/" + "x" * 240, "right", "cannot be opened"),
    ("{folder}/µ 核.safetensors", "right", "cannot be opened"),
]

#: Images that a model of one channel predicts.
PREDICT: list[tuple[str, Any, str]] = [
    ("nothing", None, "not an array"),
    ("a text", "x", "not an array"),
    ("a number", 3, "not an array"),
    ("an empty list", [], "not an array"),
    ("a view of memory", memoryview(IMAGE), "not an array"),
    ("a list of numbers", IMAGE.tolist(), "not an array"),
    ("one axis", IMAGE[0], "rows and columns"),
    ("colour", np.stack([IMAGE] * 3, -1), "looks like colour"),
    ("complex", IMAGE.astype(complex), "complex128"),
    ("objects", IMAGE.astype(object), "object"),
    ("no pixel", IMAGE[:0], "at least one pixel"),
    ("beyond float32", WIDE * 1e300, "does not tell apart"),
    ("below float32", WIDE * 1e-300, "does not tell apart"),
    ("two axes of one", IMAGE[None, None], "right"),
    ("one pixel", IMAGE[:1, :1], "right"),
    ("all masked", np.ma.masked_all((64, 64)), "right"),
    ("not a number", IMAGE * NAN, "right"),
]

#: Options of methods of `Model`.
OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("predict", {"device": 3}, "auto, "),
    ("predict", {"device": "tpu"}, "auto, "),
    ("predict", {"precision": "float64"}, "float32, bfloat16"),
    ("predict", {"precision": 3}, "float32, bfloat16"),
    ("predict", {"progress": 3}, "give a function"),
    ("predict", {"stop": 3}, "threading.Event"),
    ("predict", {"channel_axis": "x"}, "whole number"),
    ("predict", {"channel_axis": 5}, "not one of them"),
    ("predict_proba", {"precision": None}, "float32, bfloat16"),
    ("objects", {"min_size": -1}, "-1"),
    ("objects", {"min_size": 1.5}, "1.5"),
    ("objects", {"min_size": "x"}, "'x'"),
    ("objects", {"min_size": True}, "True"),
    ("objects", {"min_size": np.int16(3)}, "right"),
    ("objects", {"separate": 3}, "True or False"),
    ("objects", {"separate": np.bool_(False)}, "right"),
]

#: Positional arguments and options of `measure`.
MEASURE: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("nothing", (None,), {}, "whole numbers"),
    ("a list", (STROKES.tolist(),), {}, "whole numbers"),
    ("floats", (STROKES.astype(float),), {}, "whole numbers"),
    ("one axis", (STROKES[0],), {}, "rows and columns"),
    ("an image of no array", (STROKES, 3), {}, "not an array"),
    ("an image of another shape", (STROKES, IMAGE[:5]), {}, "shape (5, 64)"),
    ("classes of another shape", (STROKES,), {"classes": STROKES[:3]}, "(3, 64)"),
    ("classes of no array", (STROKES,), {"classes": 3}, "whole numbers"),
    ("a scale of one", (STROKES,), {"scale": (1,)}, "one per axis"),
    ("a scale of text", (STROKES,), {"scale": "x"}, "a number for each axis"),
    ("a scale that is a number", (STROKES,), {"scale": 3}, "a number for each axis"),
    ("a scale of 0", (STROKES,), {"scale": (0, 1)}, "not possible"),
    ("a scale of NaN", (STROKES,), {"scale": (NAN, 1)}, "not possible"),
    ("a scale that turns over", (STROKES,), {"scale": (-1, 1)}, "right"),
]

_INPUTS = "-i {folder}/image.npy -l {folder}/strokes.npy"

#: Command lines, with exit code and a word of what is said.
COMMANDS: list[tuple[str, int, str]] = [
    ("", 2, "COMMAND"),
    ("fly", 2, "fly"),
    ("train", 2, "--image"),
    (f"train {_INPUTS}", 2, "--output"),
    (f"train {_INPUTS} -o m.safetensors --steps -1", 2, "--steps"),
    (f"train {_INPUTS} -o m.safetensors --steps 1.5", 2, "'1.5'"),
    (f"train {_INPUTS} -o m.safetensors --seconds nan", 2, "'nan'"),
    (f"train {_INPUTS} -o m.safetensors --seconds -3", 2, "--seconds"),
    (f"train {_INPUTS} -o m.safetensors --seed x", 2, "'x'"),
    (f"train {_INPUTS} -o m.safetensors --seed 18446744073709551615", 1, "2**63 - 1"),
    (f"train {_INPUTS} -o m.safetensors --channel-axis x", 2, "'x' is no axis"),
    (f"train {_INPUTS} -o m.safetensors --channel-axis 7", 1, "7 is not one of them"),
    (f"train {_INPUTS} -o m.safetensors --series -1", 2, "--series"),
    (f"train {_INPUTS} -o m.safetensors --series 1", 1, "series 1 is not"),
    (f"train {_INPUTS} -o m.safetensors --network x", 1, "context, compact"),
    (f"train {_INPUTS} -o m.safetensors --device tpu", 1, "auto, "),
    (f"train {_INPUTS} -o m.safetensors --classes only", 1, "there are 1 classes"),
    (f"train {_INPUTS} -o m.tif", 1, ".safetensors"),
    (f"train {_INPUTS} -o none/m.safetensors", 1, "does not exist"),
    (f"train {_INPUTS} -o {{folder}}/image.npy/m.safetensors", 1, "does not exist"),
    ("train -i {folder}/image.npy -l {folder}/none.npy -o m.safetensors", 1, "none.npy"),
    ("train -i {folder}/image.npy -l {folder}/image.npy -o m.safetensors", 1, "float32"),
    ("train -i {folder} -l {folder}/strokes.npy -o m.safetensors", 1, "not read"),
    ("predict -m {folder}/model.safetensors -o o.tif", 2, "IMAGE"),
    ("predict -m {folder}/model.safetensors -o o.tif none.tif", 1, "none.tif"),
    ("predict -m {folder}/model.safetensors -o o.tif .", 1, "'.' is of a format that is not read"),
    ("predict -m {folder}/model.safetensors -o o.tif {folder}/image.npy --wait 3", 2, "--scheduler"),
    ("predict -m {folder}/model.safetensors -o o.tif {folder}/image.npy --format gif", 2, "'gif'"),
    ("predict -m {folder}/model.safetensors -o o.tif {folder}/image.npy --format png", 1, "drop one"),
    ("predict -m {folder}/model.safetensors -o o.jpg {folder}/image.npy", 1, ".jpg"),
    ("predict -m {folder}/model.safetensors -o {folder}/image.npy {folder}/image.npy", 1, ".npy"),
    ("predict -m {folder}/image.npy -o o.tif {folder}/image.npy", 1, "not a napari-dsparse model"),
    ("predict -m none -o o.tif {folder}/image.npy", 1, "none"),
    ("predict -m {folder}/model.safetensors -o o.tif {folder}/image.npy --precision x", 1, "bfloat16"),
    ("predict -m {folder}/model.safetensors -o o.tif {folder}/image.npy --scheduler x", 1, "scheduler"),
    ("predict -m {folder}/model.safetensors -o o.tif {folder}/image.npy", 0, "Labels"),
    ("demo --sample x", 1, "nuclei, tissue, phase"),
    ("doctor --plan extra", 2, "extra"),
]
