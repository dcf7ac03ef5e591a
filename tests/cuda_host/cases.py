"""The shapes that kernels are swept over."""

from __future__ import annotations

import random
from collections.abc import Iterator

from operators import Case

#: Chosen for the edges of tiles, words and strips.
EDGES = (
    Case(
        "one pixel, one tap",
        dilation=(1, 1),
        kernel=(1, 1),
        size=(1, 1),
        batch=1,
        channels=1,
        outputs=1,
        sites=1,
    ),
    Case("one output", kernel=(3, 5), dilation=(4, 2), size=(9, 9), batch=1, channels=3, sites=1),
    Case(
        "a row of one column", dilation=(1, 1), kernel=(4, 1), size=(11, 1), channels=9, outputs=33, sites=5
    ),
    Case("longer than a block", kernel=(1, 3), dilation=(1, 16), size=(2, 291), channels=4, sites=150),
    Case(
        "a full tile",
        dilation=(1, 1),
        kernel=(1, 1),
        size=(1, 128),
        channels=16,
        outputs=64,
        batch=1,
        sites=64,
    ),
    Case(
        "one more than a tile",
        dilation=(1, 1),
        kernel=(1, 2),
        size=(1, 130),
        channels=17,
        outputs=65,
        batch=1,
        sites=65,
    ),
    Case("strips in several turns", kernel=(1, 8), dilation=(1, 16), size=(1, 121), channels=9, outputs=40),
    Case(
        "image, one channel",
        dilation=(1, 1),
        kernel=(5, 5),
        size=(13, 20),
        channels=1,
        outputs=32,
        batch=1,
        sites=70,
    ),
    Case("the largest window", kernel=(8, 8), dilation=(2, 1), size=(17, 10), channels=2, sites=9),
    Case(
        "255 taps", dilation=(1, 1), kernel=(15, 17), size=(17, 18), channels=1, outputs=1, batch=1, sites=6
    ),
    Case("groups", kernel=(2, 3), channels=20, outputs=12, groups=4, size=(6, 9), sites=20),
    Case("depthwise", kernel=(3, 3), channels=7, outputs=7, groups=7, size=(7, 7), sites=11, bias=False),
    Case("quads", kernel=(2, 2), channels=32, outputs=48, size=(6, 7), batch=1, sites=20),
    Case("quads in groups", kernel=(2, 2), channels=32, outputs=6, groups=2, size=(5, 7), batch=1, sites=20),
    Case("tanh", size=(9, 12), channels=6, outputs=5, activation="tanh", sites=12),
    Case("leaky", size=(9, 12), channels=6, outputs=5, activation="relu", slope=0.1, sites=12),
)


def drawn(count: int, seed: int = 0) -> Iterator[Case]:
    """Random cases: odd sizes, 1 to 8 taps an axis 1 to 16 apart, 1 to 70 channels."""
    draw = random.Random(seed)
    for number in range(count):
        kernel = draw.choice([1, 2, 2, 3, 3, 4, 5, 7, 8]), draw.choice([1, 2, 2, 3, 3, 4, 5, 7, 8])
        dilation = draw.randint(1, 16), draw.randint(1, 16)
        size = tuple((k - 1) * d + draw.choice([1, 2, 7, 13]) for k, d in zip(kernel, dilation, strict=True))
        most = max(1, 300 // (kernel[0] * kernel[1]))  # keeps one case under about a second
        groups = draw.choice([1, 1, 1, 2, 3])
        yield Case(
            f"drawn {number}",
            kernel=kernel,
            dilation=dilation,
            size=(size[0], size[1]),
            batch=draw.choice([1, 1, 2]),
            channels=groups * draw.randint(1, min(70, most) if groups == 1 else min(20, most)),
            outputs=groups * draw.randint(1, min(70, most) if groups == 1 else min(20, most)),
            groups=groups,
            bias=draw.random() < 0.5,
            activation=draw.choice(["none", "relu", "tanh"]),
            sites=draw.choice([1, 7, 40, 130]),
            divisor=draw.randint(1, 9),
            seed=number,
        )
