"""A limit on memory is divided so that all parts fit into it, and is refused where they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dsparse.errors import DsparseError
from napari_dsparse.machine.memory import MOST_BAND, MemoryNeeds, free_memory, parse_size, plan_memory

NEEDS = st.builds(
    MemoryNeeds,
    channels=st.integers(1, 8),
    classes=st.integers(1, 300),
    symmetries=st.sampled_from([1, 2, 4, 8]),
    plane=st.integers(0, 1 << 33),
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("800MB", 800 * 10**6), ("2GB", 2 * 10**9), ("1.5GiB", 3 << 29), ("2 gb", 2 * 10**9), ("4096", 4096)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-2GB", "0GB", "2GBs", "GB", "1e9", "nan", "2,5GB"])
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 800MB, 2GB or 1\.5GiB"):
        parse_size(text)


@given(NEEDS, st.integers(0, 1 << 40), st.integers(0, 1 << 33))
def test_all_parts_fit_into_the_limit(needs: MemoryNeeds, limit: int, resident: int) -> None:
    least = resident + needs.at_work
    if limit < least:
        with pytest.raises(DsparseError, match="give --memory that or more"):
            plan_memory(limit, resident, needs)
        return
    plan = plan_memory(limit, resident, needs)
    assert 0 <= plan.scores + plan.segments <= limit - least
    assert 0 < plan.band <= MOST_BAND


def test_the_size_that_a_refusal_names_is_enough() -> None:
    needs = MemoryNeeds(channels=3, classes=4, symmetries=2)
    with pytest.raises(DsparseError, match=r"limit of 0.1GB") as refused:
        plan_memory(10**8, 3 * 10**8, needs)
    named = str(refused.value).split("this model, ")[1].split(";")[0]
    plan_memory(parse_size(named), 3 * 10**8, needs)


def test_without_a_limit_nothing_is_refused() -> None:
    needs = MemoryNeeds(channels=3, classes=4, symmetries=2, plane=1 << 50)
    assert plan_memory(None, 0, needs).scores == 0 or free_memory() > 1 << 50
