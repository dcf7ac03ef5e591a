"""Materials of regions: crowds of small things on a grainy ground."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pretraining.draws import FloatMap, IntMap, log_uniform, smooth_field
from pretraining.regions import Regions

Arrangement = Literal["random", "regular", "gathered"]
ARRANGEMENTS: tuple[Arrangement, ...] = ("random", "regular", "gathered")

#: Things of one crowd in a scene, at most.
MOST_THINGS = 6000


@dataclass(frozen=True, slots=True)
class Crowd:
    """Small things of one sort: nuclei, granules, fibres.

    Parameters
    ----------
    dye : int
        That they take up.
    cover : float
        Part of the area under them, were there no overlap.
    radius : float
        Longer half axis in pixels.
    slender : float
        Shorter half axis by the longer one, up to 1.
    heading : float
        Of the longer axis, in radians.
    order : float
        How well they keep to the heading: 0 not at all, 1 all of them.
    arrangement : Arrangement
    amount : float
        Of dye in one of them; 1 is plenty.
    hollow : float
        Part of that dye which is missing inside.
    """

    dye: int
    cover: float
    radius: float
    slender: float
    heading: float
    order: float
    arrangement: Arrangement
    amount: float
    hollow: float


@dataclass(frozen=True, slots=True)
class Matter:
    """Material of one kind of region.

    Parameters
    ----------
    crowds : tuple of Crowd
    dye : int
        Of the ground.
    level : float
        Dye in the ground.
    grain : float
        Scale of its pattern in pixels.
    contrast : float
        Of the pattern, by the level.
    streaked : float
        Length by width of the pattern's grains.
    """

    crowds: tuple[Crowd, ...]
    dye: int
    level: float
    grain: float
    contrast: float
    streaked: float


def draw_matters(rng: np.random.Generator, kinds: int, dyes: int) -> list[Matter]:
    """Matter of each kind: the same but for one to three traits, in which all of them differ."""
    base = Matter(
        tuple(_crowd(rng, number, dyes) for number in range(int(rng.integers(1, 4)))),
        dyes - 1,
        rng.uniform(0.1, 0.7),
        log_uniform(rng, 0.8, 8),
        rng.uniform(0.05, 0.6),
        rng.uniform(1, 3),
    )
    matters = [base] * kinds
    for trait in rng.choice(len(TRAITS), int(rng.integers(1, 4)), replace=False):
        matters = TRAITS[trait](rng, matters)
    return matters


def dye_maps(rng: np.random.Generator, regions: Regions, matters: list[Matter], dyes: int) -> FloatMap:
    """Amount of each dye in the specimen, shape (dyes, N, N); mostly 0 to 1.5."""
    size = len(regions.kinds)
    maps = np.zeros((dyes, size, size))
    softness, upright = rng.uniform(0.4, 1.5), rng.random() < 0.5
    fields: dict[float, FloatMap] = {}
    for kind, matter in enumerate(matters):
        where = (regions.kinds == kind) & ~regions.glass
        if matter.grain not in fields:
            width = (matter.grain, matter.grain * matter.streaked)
            fields[matter.grain] = smooth_field(rng, width[::-1] if upright else width, size)
        ground = matter.level * (1 + matter.contrast * fields[matter.grain])
        maps[matter.dye] += np.where(where, np.maximum(ground, 0), 0)
        for crowd in matter.crowds:
            np.maximum(maps[crowd.dye], scatter(rng, where, crowd, softness), out=maps[crowd.dye])
    if regions.things.any():
        _fill_things(rng, regions.things, maps)
    return maps


def unevenly(rng: np.random.Generator, maps: FloatMap) -> FloatMap:
    """Dyes (D, N, N) taken up unevenly, which carries no information; at times evenly."""
    if rng.random() < 0.4:
        return maps
    size = maps.shape[-1]
    width, strength = rng.uniform(size / 12, size / 4), rng.uniform(0, 0.3)
    return maps * np.exp(strength * np.stack([smooth_field(rng, width, size) for _ in maps]))


def scatter(rng: np.random.Generator, where: NDArray[np.bool_], crowd: Crowd, softness: float) -> FloatMap:
    """Dye in a crowd spread over the pixels `where` (N, N), whose outlines are `softness` pixels wide."""
    size = len(where)
    dye = np.zeros((size, size))
    for y, x in _places(rng, where, crowd):
        axis = crowd.radius * math.exp(rng.normal(0, 0.18))
        angle = crowd.heading + rng.normal(0, 0.15) if rng.random() < crowd.order else rng.uniform(0, math.pi)
        slender = min(1.0, crowd.slender * math.exp(rng.normal(0, 0.1)))
        reach = axis + softness + 1
        top, left = max(0, int(y - reach)), max(0, int(x - reach))
        rows = np.arange(top, min(size, int(y + reach) + 2))[:, None] - y
        columns = np.arange(left, min(size, int(x + reach) + 2)) - x
        cosine, sine = math.cos(angle), math.sin(angle)
        along, across = (rows * cosine + columns * sine) / axis, (columns * cosine - rows * sine) / axis
        depth = (1 - np.sqrt(along * along + (across / slender) ** 2)) * axis * slender
        own = (depth / softness + 0.5).clip(0, 1)
        if crowd.hollow:
            own *= 1 - crowd.hollow * ((depth - 1.2) / 1.5).clip(0, 1)
        own *= crowd.amount * math.exp(rng.normal(0, 0.2))
        part = dye[top : top + own.shape[0], left : left + own.shape[1]]
        np.maximum(part, own, out=part)
    return dye


def _places(rng: np.random.Generator, where: NDArray[np.bool_], crowd: Crowd) -> FloatMap:
    """Centres of a crowd, rows and columns (n, 2)."""
    size = len(where)
    inside = np.flatnonzero(where)
    area = math.pi * crowd.radius**2 * crowd.slender
    count = min(int(crowd.cover * len(inside) / area), MOST_THINGS)
    if count == 0:
        return np.zeros((0, 2))
    if crowd.arrangement == "regular":
        step = math.sqrt(len(inside) / count)
        sides = np.arange(-0.75 * size, 0.75 * size, step)
        grid = np.stack(np.meshgrid(sides, sides), -1).reshape(-1, 2) + rng.uniform(0, step, 2)
        cosine, sine = math.cos(crowd.heading), math.sin(crowd.heading)
        places = grid @ np.array([[cosine, sine], [-sine, cosine]]) + size / 2
        places += rng.normal(0, 0.17 * step, places.shape)
    else:
        places = np.stack(np.divmod(inside[rng.integers(len(inside), size=count)], size), -1).astype(float)
        if crowd.arrangement == "gathered":
            parents = places[: max(1, count // 8)]
            near = rng.normal(0, 2.2 * crowd.radius * crowd.slender**0.5, places.shape)
            places = parents[rng.integers(len(parents), size=count)] + near
    places = places[((places >= 0) & (places < size)).all(1)]
    places = places[where[tuple(places.astype(int).T)]]
    # Thinner in places: amount must not identify a place.
    density = 1 - rng.uniform(0, 0.6) * (0.5 + 0.4 * smooth_field(rng, size / 10, size)).clip(0, 1)
    kept: FloatMap = places[rng.random(len(places)) < density[tuple(places.astype(int).T)]]
    return kept


def _crowd(rng: np.random.Generator, number: int, dyes: int) -> Crowd:
    """The first one is of nuclei or granules, the second of fibres or granules in any dye."""
    fibres = number > 0 and rng.random() < 0.6
    radius = rng.uniform(6, 20) if fibres else log_uniform(rng, 1.5 if number else 2.2, 7)
    slender = rng.uniform(1.0, 2.0) / radius if fibres else rng.uniform(0.5, 1)
    return Crowd(
        dye=0 if number == 0 else int(rng.integers(dyes)),
        cover=log_uniform(rng, 0.06, 0.3),
        radius=radius,
        slender=slender,
        heading=rng.uniform(0, math.pi),
        order=rng.uniform(0.2, 1) if fibres else rng.uniform(0, 0.6),
        arrangement=ARRANGEMENTS[rng.integers(len(ARRANGEMENTS))],
        amount=rng.uniform(0.5, 1.3),
        hollow=rng.uniform(0.3, 0.8) if radius > 3 and rng.random() < 0.4 else 0.0,
    )


def _fill_things(rng: np.random.Generator, things: IntMap, maps: FloatMap) -> None:
    """Empty, or full of one dye, with a wall at times; replaces what lies beneath."""
    within = ndimage.gaussian_filter((things > 0).astype(float), 0.8)
    maps *= 1 - within
    if rng.random() < 0.6:
        dye = int(rng.integers(len(maps)))
        maps[dye] += within * rng.uniform(0.2, 1.2) * (1 + 0.2 * smooth_field(rng, 3, len(things)))
    if rng.random() < 0.4:
        wall = ndimage.gaussian_filter(within, 1.5) * (1 - within)
        maps[rng.integers(len(maps))] += wall * rng.uniform(1, 3)


# Traits: each gives every kind another value.

Trait = Callable[[np.random.Generator, list[Matter]], list[Matter]]


def _spread(
    rng: np.random.Generator,
    middle: float,
    kinds: int,
    step: tuple[float, float],
    bounds: tuple[float, float],
) -> list[float]:
    """A value for each of `kinds`, in random order, each a `step` times the next.

    Their middle is `middle`; all lie within `bounds` where they fit.
    """
    apart = math.log(rng.uniform(*step))
    values = middle * np.exp(apart * (rng.permutation(kinds) - (kinds - 1) / 2))
    values *= min(1.0, bounds[1] / values.max())
    values *= max(1.0, bounds[0] / values.min())
    return [float(value) for value in values]


def _change(matter: Matter, number: int, **changes: object) -> Matter:
    """With another crowd `number`, the last one where there are not as many."""
    crowds = list(matter.crowds)
    index = min(number, len(crowds) - 1)
    crowds[index] = replace(crowds[index], **changes)  # type: ignore[arg-type]
    return replace(matter, crowds=tuple(crowds))


def _density(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    number = int(rng.integers(len(matters[0].crowds)))
    covers = _spread(rng, matters[0].crowds[number].cover, len(matters), (1.7, 3.5), (0.005, 0.7))
    return [_change(m, number, cover=cover) for m, cover in zip(matters, covers, strict=True)]


def _size(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    radii = _spread(rng, matters[0].crowds[0].radius, len(matters), (1.35, 2), (1.2, 16))
    return [_change(m, 0, radius=radius) for m, radius in zip(matters, radii, strict=True)]


def _shape(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    values = rng.permutation(np.geomspace(0.2, 1, len(matters)))
    return [
        _change(
            m, 0, slender=float(value), radius=max(m.crowds[0].radius * float(value) ** -0.4, 1.5 / value)
        )
        for m, value in zip(matters, values, strict=True)
    ]


def _heading(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    """Things all of one heading, another in each kind."""
    first, order, slender = rng.uniform(0, math.pi), rng.uniform(0.7, 1), rng.uniform(0.15, 0.45)
    turns = rng.permutation(len(matters)) * math.pi / len(matters)
    radius = max(4.0, 1.2 / slender)
    return [
        _change(m, 1, heading=first + float(turn), order=order, slender=slender, radius=radius, hollow=0.0)
        for m, turn in zip(matters, turns, strict=True)
    ]


def _arrangement(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    """With a little more or less of them where there are more kinds than arrangements."""
    order = rng.permutation(len(ARRANGEMENTS))
    return [
        _change(
            m,
            0,
            arrangement=ARRANGEMENTS[order[number % len(order)]],
            cover=m.crowds[0].cover * (1 if number < len(order) else 2),
        )
        for number, m in enumerate(matters)
    ]


def _stain(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    amounts = _spread(rng, matters[0].crowds[0].amount, len(matters), (1.15, 1.6), (0.2, 3))
    return [_change(m, 0, amount=amount) for m, amount in zip(matters, amounts, strict=True)]


def _ground(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    levels = _spread(rng, matters[0].level, len(matters), (1.1, 1.6), (0.05, 1.5))
    return [replace(m, level=level) for m, level in zip(matters, levels, strict=True)]


def _grain(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    contrast = rng.uniform(0.3, 0.7)
    grains = _spread(rng, matters[0].grain, len(matters), (1.7, 3), (0.6, 20))
    return [replace(m, grain=grain, contrast=contrast) for m, grain in zip(matters, grains, strict=True)]


def _contrast(rng: np.random.Generator, matters: list[Matter]) -> list[Matter]:
    contrasts = _spread(rng, matters[0].contrast, len(matters), (1.7, 3), (0.02, 1))
    return [replace(m, contrast=contrast) for m, contrast in zip(matters, contrasts, strict=True)]


#: Equally likely.
TRAITS: tuple[Trait, ...] = (
    _density,
    _density,
    _size,
    _shape,
    _heading,
    _arrangement,
    _stain,
    _ground,
    _grain,
    _contrast,
)
