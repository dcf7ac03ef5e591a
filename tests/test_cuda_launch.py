"""From an operator to the driver, end to end: the real launcher, compiler and cache over a driver library
that runs launches on the host (tests/cuda_host/fake_cuda.cpp)."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cuda_host import build
from napari_dsparse.errors import KernelError
from napari_dsparse.machine import cache
from napari_dsparse.ops import dispatch, reference
from napari_dsparse.ops.cuda import compiler, execution, launch, nvrtc
from napari_dsparse.ops.cuda.driver import Driver
from napari_dsparse.ops.cuda.kernels import KERNELS_BY_NAME
from napari_dsparse.ops.cuda.nvrtc import Nvrtc, find_nvrtc

CUDA = "13.0"

#: Kernels of an average pool whose windows have many taps, on 16-bit maps: 9 + 25 taps take a pass and two.
WIDE_POOL = ("window_sums_f16_f16_f32", "window_sums_f32_f32_f32", "window_sums_f32_f32_f16")


def nvrtc_or_skip(cuda: str) -> Nvrtc:
    try:
        return find_nvrtc(cuda)
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def fake_driver(request: pytest.FixtureRequest) -> Path:
    """A libcuda that runs launches on the host; kept between test runs, for as long as no source changes."""
    if build.compiler() is None:
        pytest.skip("kernels run on the host where g++ is; install it")
    folder = request.config.cache.mkdir("cuda_host")
    library = folder / f"libcuda-{build.digest()}.so"
    if not library.exists():
        scratch = Path(tempfile.mkdtemp(dir=folder))
        names = ("max_pool_f32", "pack_f32_fma", "conv_f32_fma_32", *WIDE_POOL)
        kernels = [KERNELS_BY_NAME[name] for name in names]
        os.replace(build.build(scratch / "libcuda.so", build.DRIVER, kernels), library)
        shutil.rmtree(scratch)
    return library


@pytest.fixture
def machine(fake_driver: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ctypes.CDLL]:
    """A computer with a GPU, this NVRTC and an empty cache; tensors stay on the CPU."""
    nvrtc_or_skip(CUDA)
    opened = Driver(str(fake_driver))
    monkeypatch.setattr(torch.version, "cuda", CUDA)
    monkeypatch.setattr(execution, "open_driver", lambda: opened)
    monkeypatch.setattr(execution, "capability", lambda device: (7, 5))
    stream = SimpleNamespace(device_index=0, cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    execution._loaded.cache_clear()
    yield ctypes.CDLL(str(fake_driver))
    execution._loaded.cache_clear()


def pool() -> torch.Tensor:
    return launch.max_pool2d(torch.arange(12.0).reshape(1, 1, 3, 4), (2, 2), (1, 2), False)[0]


POOLED = torch.tensor([[[[6.0, 7.0], [10.0, 11.0]]]])


def entries() -> list[Path]:
    return sorted(Path(os.environ[cache.VARIABLE]).iterdir())


def test_a_launch_compiles_loads_and_runs(machine: ctypes.CDLL) -> None:
    assert torch.equal(pool(), POOLED)
    x, weight = torch.rand(1, 3, 6, 7), torch.rand(4, 3, 2, 3)
    out = launch.conv2d(x, weight, None, (2, 1), 1, "none", 0.0)
    torch.testing.assert_close(out, torch.nn.functional.conv2d(x, weight, dilation=(2, 1)))
    assert [path.suffix for path in entries()] == [".cubin"] * 3


def wide_pool(x: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = dispatch.run("avg_pool2d", x, (9, 25), (2, 1), 225)
    return out


@pytest.fixture
def served(machine: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve dispatched calls on this machine's GPU, or fail."""
    monkeypatch.setattr(launch, "unavailable", lambda device: None)
    monkeypatch.setenv(dispatch.VARIABLE, "require")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_wide_pool_runs_in_passes_on_one_stream(
    served: None, monkeypatch: pytest.MonkeyPatch, layout: torch.memory_format
) -> None:
    stream = SimpleNamespace(device_index=0, cuda_stream=0x5EED)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    launched: list[tuple[int, int, int]] = []
    real = Driver.launch

    def spy(
        driver: Driver, kernel: object, device: int, on: int, blocks: int, threads: int, *rest: Any
    ) -> None:
        launched.append((device, on, blocks * threads))
        real(driver, kernel, device, on, blocks, threads, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Driver, "launch", spy)
    x = torch.rand(2, 3, 30, 40).half().contiguous(memory_format=layout)
    out = wide_pool(x)
    assert torch.equal(out, reference.avg_pool2d(x, (9, 25), (2, 1), 225))
    assert out.is_contiguous(memory_format=layout)
    assert [(device, on) for device, on, _ in launched] == [(0, 0x5EED)] * 3
    # As many threads as the pass gives values, to a block.
    values = (2 * 3 * 14 * 40, 2 * 3 * 14 * 35, 2 * 3 * 14 * 16)
    assert [threads for *_, threads in launched] == [-(-n // 256) * 256 for n in values]
    assert len(entries()) == len(WIDE_POOL)


def test_a_wide_pool_of_no_image_launches_nothing(served: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "launch", lambda *_: pytest.fail("launched"))
    assert wide_pool(torch.zeros(0, 3, 30, 40).half()).shape == (0, 3, 14, 16)
    assert wide_pool(torch.zeros(2, 0, 30, 40).half()).shape == (2, 0, 14, 16)


def test_a_fresh_thread_gets_the_context(machine: ctypes.CDLL) -> None:
    """A worker's first call, before PyTorch has touched CUDA there."""
    results: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: results.append(pool()))
    thread.start()
    thread.join()
    assert torch.equal(results[0], POOLED)


def test_another_context_comes_back_after_a_launch(machine: ctypes.CDLL) -> None:
    machine.fake_current.restype = ctypes.c_void_p
    machine.cuCtxSetCurrent(ctypes.c_void_p(1234))
    try:
        assert torch.equal(pool(), POOLED)
        assert machine.fake_current() == 1234
    finally:
        machine.cuCtxSetCurrent(None)


def test_a_kernel_is_compiled_once_a_machine_and_loaded_once_a_process(
    machine: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.fake_loaded()
    pool()
    pool()
    assert machine.fake_loaded() == before + 1
    execution._loaded.cache_clear()  # as in a new process
    monkeypatch.setattr(Nvrtc, "compile", lambda *args: pytest.fail("compiled again"))
    assert torch.equal(pool(), POOLED)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: b"",
        lambda data: b"\0" * len(data),
    ],
    ids=["half-written", "one bit turned", "empty", "zeros"],
)
def test_a_damaged_cache_entry_is_compiled_again(machine: ctypes.CDLL, damage: object) -> None:
    pool()
    (entry,) = entries()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))  # type: ignore[operator]
    execution._loaded.cache_clear()
    assert torch.equal(pool(), POOLED)
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("where", ["a file", "read-only", "nowhere"])
def test_a_cache_that_cannot_be_written_is_no_error(
    machine: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    if where == "a file":
        (tmp_path / "cache").write_text("not a folder")
    elif where == "read-only":
        # Permissions don't bind the superuser; a store that fails like this does.
        monkeypatch.setattr(tempfile, "mkstemp", lambda **_: (_ for _ in ()).throw(PermissionError()))
    else:
        monkeypatch.setattr(cache, "cache_folder", lambda: None)
    assert torch.equal(pool(), POOLED)


def test_a_failed_store_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError()))
    cache.store(tmp_path, "key.cubin", b"\x7fELF")
    assert list(tmp_path.iterdir()) == []


def test_a_stored_cubin_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    cache.store(tmp_path, "key.cubin", b"\x7fELF and so on")
    assert cache.load(tmp_path, "key.cubin") == b"\x7fELF and so on"
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "key.cubin").stat().st_mode) == 0o600


def _store_many(folder: str, fill: int) -> None:
    for _ in range(60):
        cache.store(Path(folder), "key.cubin", b"\x7fELF" + bytes([fill]) * 100_000)


def test_two_processes_storing_at_once_leave_a_whole_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_store_many, args=(str(tmp_path), fill)) for fill in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if (path := tmp_path / "key.cubin").exists():
            data = cache.load(tmp_path, "key.cubin")
            assert data is not None, "a reader saw half an entry"
            assert len(set(data[4:])) == 1
            seen.add(data[4])
            assert path.exists()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen <= {1, 2}
    assert [path.name for path in tmp_path.iterdir()] == ["key.cubin"]


def test_what_the_machine_code_follows_from_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found = nvrtc_or_skip(CUDA)
    kernel = KERNELS_BY_NAME["max_pool_f32"]
    keys = {
        compiler.cache_key(kernel, 80, found),
        compiler.cache_key(kernel, 90, found),
        compiler.cache_key(KERNELS_BY_NAME["max_pool_f16"], 80, found),
    }
    monkeypatch.setattr(compiler, "_headers", lambda: {"pool.cuh": "changed"})
    keys.add(compiler.cache_key(kernel, 80, found))
    monkeypatch.setitem(vars(found), "version", (13, 1))
    keys.add(compiler.cache_key(kernel, 80, found))
    assert len(keys) == 5


def test_a_kernel_that_is_not_in_the_image_is_refused(machine: ctypes.CDLL) -> None:
    cubin = compiler.cubin_for(KERNELS_BY_NAME["max_pool_f32"], (7, 5))
    with pytest.raises(KernelError, match="find the kernel conv_f32_fma_32: named symbol not found"):
        execution.open_driver().load(cubin, "conv_f32_fma_32")


def test_an_image_that_is_not_machine_code_is_refused(machine: ctypes.CDLL) -> None:
    with pytest.raises(KernelError, match="load the kernel pool: device kernel image is invalid"):
        execution.open_driver().load(b".version 8.0 // PTX, say" + bytes(100), "pool")


def test_a_missing_driver_is_told_with_its_cure() -> None:
    with pytest.raises(KernelError, match="install NVIDIA's driver"):
        Driver("libcuda-that-is-not-there.so.1")


def test_an_old_driver_is_told_with_its_cure(fake_driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DRIVER_VERSION", "11040")
    with pytest.raises(KernelError, match=r"serves CUDA 11\.4; .* update it"):
        Driver(str(fake_driver))


def test_a_cpu_build_of_pytorch_has_no_compiler() -> None:
    with pytest.raises(KernelError, match="install a CUDA build"):
        find_nvrtc(None)


def test_a_missing_compiler_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_candidates", lambda major: iter(()))
    with pytest.raises(KernelError, match="pip install nvidia-cuda-nvrtc-cu11"):
        find_nvrtc("11.8")


def test_devices_out_of_reach_are_told_why() -> None:
    known = SimpleNamespace(version=(12, 6), architectures=(75, 80, 86, 89, 90))
    assert compiler.architecture_for((8, 7), known) == 86  # machine code of the same family runs
    with pytest.raises(KernelError, match=r"12\.6 does not know compute capability 12\.0"):
        compiler.architecture_for((12, 0), known)
    with pytest.raises(KernelError, match=r"capability 7\.0; kernels need 7\.5"):
        compiler.architecture_for((7, 0), known)


def test_what_does_not_compile_says_so() -> None:
    found = nvrtc_or_skip(CUDA)
    with pytest.raises(
        KernelError, match=r"could not compile a kernel; please report what it said: .*no storage class"
    ):
        found.compile("nonsense;", {}, compiler.options(90))


def test_a_tensor_on_the_cpu_has_no_kernel() -> None:
    assert "is on cpu" in (launch.unavailable(torch.device("cpu")) or "")
