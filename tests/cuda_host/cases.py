"""The shapes that kernels are swept over."""

from __future__ import annotations

import random

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


#: Values that a sweep takes at least once, of each argument that has two axes on each of them.
TAPS, DILATIONS, CHANNELS = range(1, 9), range(1, 17), range(1, 71)

#: Pixels between the first and the last tap of a case, at most: many taps far apart make large maps.
MOST_SPAN = 36

#: Steps of products (8 words deep) that the costliest launch of a case should take: hundredths of a second.
MOST_STEPS = 300


def sweep(seed: int = 1) -> tuple[Case, ...]:
    """One case for every number of channels: all of `TAPS`, `DILATIONS` and `CHANNELS`, mixed at random.

    Of some draws the first is taken whose work is small enough, or the one with the least; so the most taps
    come with the fewest output channels.
    """
    draw = random.Random(seed)
    shuffled = [draw.sample(list(CHANNELS), len(CHANNELS)) for _ in range(2)]
    # Those with the most output channels choose first.
    channels = sorted(zip(*shuffled, strict=True), key=lambda pair: -pair[1])
    rows, columns = (_axis(len(channels), draw) for _ in range(2))
    cases = []
    for number, (inputs, outputs) in enumerate(channels):
        draws = [(draw.randrange(len(rows)), draw.randrange(len(columns))) for _ in range(60)]
        tried = [(_case(number, inputs, outputs, rows[y], columns[x]), y, x) for y, x in draws]
        fitting = (one for one in tried if steps(one[0]) <= MOST_STEPS)
        case, y, x = next(fitting, min(tried, key=lambda one: steps(one[0])))
        rows.pop(y), columns.pop(x)
        cases.append(case)
    return tuple(cases)


def _axis(count: int, draw: random.Random) -> list[tuple[int, int]]:
    """Pairs of taps and dilation along one axis: every value of each about as often, none too far apart."""
    taps = sorted(_repeated(TAPS, count), reverse=True)
    dilations = draw.sample(_repeated(DILATIONS, count), count)
    pairs = []
    for k in taps:  # the most taps choose first
        d = next(d for d in dilations if (k - 1) * d <= MOST_SPAN)
        dilations.remove(d)
        pairs.append((k, d))
    return draw.sample(pairs, count)


def _repeated(values: range, count: int) -> list[int]:
    return [values[i % len(values)] for i in range(count)]


def _case(number: int, channels: int, outputs: int, rows: tuple[int, int], columns: tuple[int, int]) -> Case:
    draw = random.Random(number)
    (taps_y, dilation_y), (taps_x, dilation_x) = rows, columns
    groups = [g for g in range(1, channels + 1) if channels % g == outputs % g == 0]
    return Case(
        f"swept {number}",
        kernel=(taps_y, taps_x),
        dilation=(dilation_y, dilation_x),
        size=(
            (taps_y - 1) * dilation_y + draw.choice([1, 1, 2]),
            (taps_x - 1) * dilation_x + draw.choice([1, 2, 7, 13, 33, 131]),
        ),
        batch=draw.choice([1, 1, 1, 2]),
        channels=channels,
        outputs=outputs,
        groups=draw.choice([1, 1, *groups[:4]]),
        bias=draw.random() < 0.5,
        activation=draw.choice(["none", "relu", "tanh"]),
        sites=draw.choice([1, 7, 40, 130]),
        divisor=draw.randint(1, 9),
        seed=number,
    )


def steps(case: Case) -> int:
    """Steps of the costliest launch: the input gradient, whose results are as large as the map."""
    blocks = case.batch * case.groups * case.size[0] * -(-case.size[1] // 128)
    tiles = -(-case.channels // case.groups // 64)
    words = -(-case.outputs // case.groups // 8)
    return blocks * tiles * words * case.kernel[0] * case.kernel[1]
