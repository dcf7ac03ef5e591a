"""The kernels under AddressSanitizer and ThreadSanitizer, and proof that these tests would notice faults."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from cuda_host import build
from cuda_host.build import ADDRESSES, FIBRES, RACES, Grid
from cuda_host.shim import Shim
from cuda_host.tape import recording
from napari_dsparse.ops import dispatch
from napari_dsparse.ops.cuda import argument_groups, execution, launch, window_sums
from napari_dsparse.ops.cuda.kernels import KERNELS_BY_NAME, Kernel, headers
from napari_dsparse.ops.schemas import SCHEMAS
from operators import Case, arguments

#: Tails in every direction: sites, channels, pixels, words and taps that fill no tile.
CASES = (
    Case("tails", kernel=(2, 3), dilation=(3, 2), size=(9, 21), batch=1, channels=9, outputs=5, sites=100),
    Case(
        "two tiles", kernel=(1, 2), dilation=(1, 1), size=(2, 131), batch=1, channels=10, outputs=66, sites=67
    ),
    Case("quads", kernel=(2, 1), dilation=(1, 1), size=(4, 5), channels=32, outputs=33, groups=1, sites=9),
    Case("one channel", kernel=(3, 3), dilation=(1, 2), size=(5, 9), channels=1, outputs=3, sites=6),
)


def record(shim: Shim, path: Path, cases: tuple[Case, ...], dtypes: tuple[torch.dtype, ...]) -> Path:
    with pytest.MonkeyPatch.context() as patch, recording(shim, path):
        patch.setattr(argument_groups, "SPLIT_BLOCKS", 2)  # several units a block, as on large maps
        patch.setattr(execution, "capability", lambda device: shim.device_capability)
        for dtype in dtypes:
            for capability in ((7, 5), (9, 0)):
                shim.device_capability = capability
                for case in cases:
                    for operator in SCHEMAS:
                        for channels_last in (False, True):
                            run(operator, case, dtype, channels_last)
            launch.max_pool2d(torch.zeros(1, 1, 4, 5, dtype=dtype), (2, 2), (1, 1), True)  # all taps equal
            for kernel in ((17, 30), (49, 1), (1, 13)):
                pool_widely(kernel, dtype)
    return path


def run(operator: str, case: Case, dtype: torch.dtype, channels_last: bool) -> None:
    if channels_last and operator.startswith("site_"):
        return
    layout = torch.channels_last if channels_last else torch.contiguous_format
    args = [
        arg.to(dtype) if isinstance(arg, torch.Tensor) and arg.is_floating_point() else arg
        for arg in arguments(operator, case)
    ]
    args = [a.to(memory_format=layout) if isinstance(a, torch.Tensor) and a.ndim == 4 else a for a in args]
    getattr(launch, operator)(*dispatch._dense(operator, tuple(args)))


def pool_widely(kernel: tuple[int, int], dtype: torch.dtype) -> None:
    """Windows of many taps, in several passes, some of one axis only; the second plane by itself."""
    size = [3 + 2 * (k - 1) for k in kernel]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_sums, "PART", 1)
        for layout in (torch.contiguous_format, torch.channels_last):
            x, grad = (
                torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
                for shape in (size, (3, 3))
            )
            launch.avg_pool2d(x.contiguous(memory_format=layout), kernel, (2, 2), 7)
            launch.avg_pool2d_backward(grad.contiguous(memory_format=layout), kernel, (2, 2), 7)


def replay(program: Path, tape: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Where newer kernels spread addresses widely, ThreadSanitizer finds no room for its shadow.
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []
    return subprocess.run(
        [*fixed, str(program), str(tape), *words], capture_output=True, text=True, check=False, timeout=300
    )


def noticed(done: subprocess.CompletedProcess[str]) -> bool:
    """True if a replay failed, and for a reason that lies in the kernel."""
    if done.returncode == 0:
        return False
    reasons = ("buffer", "threads wait", "AddressSanitizer", "ThreadSanitizer", "runtime error")
    assert any(reason in done.stderr for reason in reasons), done.stderr[-3000:]
    return True


@pytest.fixture(scope="session")
def tape(host_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "tape"
    return record(Shim(host_library), path, CASES, (torch.float32, torch.bfloat16))


@pytest.fixture(scope="session")
def short_tape(host_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "short"
    return record(Shim(host_library), path, CASES[:1], (torch.float32,))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


def recorded(tape: Path) -> list[Kernel]:
    content = tape.read_bytes()
    return [
        kernel
        for name, kernel in KERNELS_BY_NAME.items()
        if re.search(rb"\0%s[^a-z0-9_]" % name.encode(), content)
    ]


@pytest.mark.timeout(400)
def test_no_address_is_read_or_written_out_of_bounds(tape: Path, workshop: Path) -> None:
    program = build.build(workshop / "addresses", ADDRESSES, recorded(tape))
    done = replay(program, tape)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 400


@pytest.mark.timeout(400)
def test_no_two_threads_race(tape: Path, workshop: Path) -> None:
    program = build.build(workshop / "races", RACES, recorded(tape))
    done = replay(program, tape)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) > 400


@dataclass(frozen=True)
class Fault:
    """A mistake someone could make, and where the tests see it.

    Parameters
    ----------
    name : str
    header, old, new : str
        What is planted; `old` occurs once, or is a barrier.
    kernel : str
        That has the mistake then.
    grids : tuple of Grid
        Ways to run it, one of which notices.
    occurrence : int
        Of `old`, from 0.
    """

    name: str
    header: str
    old: str
    new: str
    kernel: str
    grids: tuple[Grid, ...] = (FIBRES, RACES)
    occurrence: int = 0

    def planted(self) -> dict[str, str]:
        sources = headers()
        parts = sources[self.header].split(self.old)
        assert len(parts) > self.occurrence + 1, f"{self.header} has no {self.old}"
        head, tail = self.old.join(parts[: self.occurrence + 1]), self.old.join(parts[self.occurrence + 1 :])
        sources[self.header] = head + self.new + tail
        return sources


BARRIER = "__syncthreads();"


def barriers() -> list[Fault]:
    """Every barrier of every kernel, missing."""
    kernels = {
        "conv.cuh": "conv_f32_fma_32",
        "weight_grad.cuh": "weight_grad_f32_fma",
        "site_conv.cuh": "site_conv_f32_fma_32",
        "site_weight_grad.cuh": "site_weight_grad_f32_fma",
    }
    faults = []
    for header, kernel in kernels.items():
        for number, before in enumerate(headers()[header].split(BARRIER)[:-1]):
            # The first pixels of a run of sites are shared only where sites are pixels.
            place = kernel.replace("site_", "pixel_", 1) if before.endswith("if (Rows::SHARES) ") else kernel
            faults.append(
                Fault(
                    f"{header} without barrier {number + 1}", header, BARRIER, ";", place, occurrence=number
                )
            )
    return faults


BOUNDS = (ADDRESSES,)

FAULTS = (
    *barriers(),
    Fault(
        "fragments swapped",
        "tile.cuh",
        "from[8 * a.line], from[4 * a.depth]",
        "from[4 * a.depth], from[8 * a.line]",
        "conv_f32_mma_32",
        (FIBRES,),
    ),
    Fault(
        "columns of b swapped",
        "tile.cuh",
        "columns[j][1] = from[4 * b.depth];",
        "columns[j][1] = columns[j][0], columns[j][0] = from[4 * b.depth];",
        "site_conv_f32_mma_32",
        (FIBRES,),
    ),
    Fault(
        "left edge unchecked",
        "conv.cuh",
        "return x >= 0 && x < width",
        "return x < width",
        "conv_f32_fma_32",
        BOUNDS,
    ),
    Fault(
        "bottom edge unchecked",
        "conv.cuh",
        "y >= 0 && y < p.height",
        "y >= 0",
        "conv_f32_fma_32",
        BOUNDS,
    ),
    Fault(
        "tail of pixels unmasked",
        "weight_grad.cuh",
        "x < width ? row[x] : Element{}",
        "row[x]",
        "weight_grad_f32_fma",
        BOUNDS,
    ),
    Fault(
        "tail of output channels unmasked",
        "conv.cuh",
        "if (row >= p.outputs) continue;",
        "",
        "conv_f32_fma_32",
        BOUNDS,
    ),
    Fault(
        "tail of sites unmasked",
        "site_conv.cuh",
        "site >= p.gather.sites || ",
        "",
        "site_conv_f32_fma_32",
        BOUNDS,
    ),
    Fault(
        "absent sites read",
        "gather.cuh",
        "return at < p.inputs ? at : -1;",
        "return at;",
        "site_conv_f32_fma_32",
        BOUNDS,
    ),
    Fault(
        "one part too many",
        "sum_parts.cuh",
        "split < p.splits",
        "split <= p.splits",
        "sum_parts_f32",
        BOUNDS,
    ),
    Fault(
        "window beyond the winners",
        "pool.cuh",
        " || x >= p.out_width) continue;\n            const",
        ") continue;\n            const",
        "max_pool_backward_f32",
        BOUNDS,
    ),
    Fault(
        "the last of equal taps wins",
        "pool.cuh",
        "value > best",
        "value >= best",
        "max_pool_f32",
        (FIBRES,),
    ),
    Fault(
        "windows beyond the line",
        "window_sums.cuh",
        "(word)(place + ahead) < (word)length ? ",
        "true ? ",
        "window_sums_f32_f32_f32",
        BOUNDS,
    ),
    Fault(
        "windows beyond one end of the line",
        "window_sums.cuh",
        "(word)(place + ahead) < (word)length",
        "place + ahead < length",
        "window_sums_f32_f32_f32",
        BOUNDS,
    ),
    Fault(
        "threads beyond the last window",
        "window_sums.cuh",
        "if (at >= p.total) return;",
        "",
        "window_sums_f32_f32_f32",
        BOUNDS,
    ),
    Fault(
        "a further tap beside the window",
        "window_sums.cuh",
        "ahead + 2 * reach, p.inner",
        "ahead + reach, p.inner",
        "window_sums_f32_f32_f32",
        (FIBRES,),
    ),
    Fault(
        "further taps from the wrong doubling",
        "window_sums.cuh",
        "if constexpr (DIGITS % 2)",
        "if constexpr (HALF % 2)",
        "window_sums_f32_f32_f32",
        (FIBRES,),
    ),
    Fault(
        "windows joined too far on",
        "window_sums.cuh",
        "(p.window - 1) * LEADING",
        "p.window * LEADING",
        "window_sums_f32_f32_f32",
        (FIBRES,),
    ),
    Fault(
        "sums begin where taps do",
        "window_sums.cuh",
        "place - p.sums_first",
        "place",
        "window_sums_f32_f32_f32",
        (FIBRES,),
    ),
    Fault(
        "windows joined in another order",
        "window_sums.cuh",
        "return total + value_ahead(w.x, ahead + 2 * reach, p.inner, w.place, p.length);",
        "{ const auto half = sum_ahead<HALF>(p, w, ahead); return half +"
        " (total - half + value_ahead(w.x, ahead + 2 * reach, p.inner, w.place, p.length)); }",
        "window_sums_f32_f32_f32",
        (FIBRES,),
    ),
    Fault(
        "padding words not zero",
        "pack.cuh",
        "element >= p.elements) return Element{};",
        "false) return Element{};",
        "pack_f32_fma",
        BOUNDS,
    ),
)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_noticed(fault: Fault, short_tape: Path, workshop: Path) -> None:
    sources, folder = fault.planted(), re.sub(r"\W+", "-", fault.name)
    for grid in fault.grids:
        program = workshop / f"{folder}-{fault.grids.index(grid)}"
        build.build(program, grid, [KERNELS_BY_NAME[fault.kernel]], sources=sources)
        done = replay(program, short_tape)
        if noticed(done):
            return
        assert int(done.stdout.split()[0]) > 0, "the kernel was not even run"
    pytest.fail("nothing noticed it")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "kernel", ["conv_f32_fma_32", "weight_grad_f32_fma", "site_conv_f32_fma_32", "pixel_weight_grad_f32_fma"]
)
def test_shared_memory_that_is_too_short_is_noticed(kernel: str, short_tape: Path, workshop: Path) -> None:
    """Launches ask for what the kernel uses: one word less than that, after 8 of padding, is too few."""
    program = build.build(workshop / f"short-{kernel}", ADDRESSES, [KERNELS_BY_NAME[kernel]])
    assert replay(program, short_tape).returncode == 0
    assert noticed(replay(program, short_tape, "36"))
