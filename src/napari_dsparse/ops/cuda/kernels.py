"""All kernels: name, source, and the registers and threads that each is designed for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

import torch

from napari_dsparse.ops.reference.arithmetic import sum_dtype

#: Names of number types in kernel names, and in the sources.
ELEMENTS: Mapping[torch.dtype, tuple[str, str]] = {
    torch.float32: ("f32", "float"),
    torch.float64: ("f64", "double"),
    torch.float16: ("f16", "F16"),
    torch.bfloat16: ("bf16", "Bf16"),
}

#: Types that products take; float64 is left to PyTorch.
PRODUCT_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One instance of a kernel template.

    Parameters
    ----------
    name : str
        Its name in the cubin; unique.
    header : str
        The source that defines its template.
    template : str
        The instance, as written in the source.
    arguments : str
        Its structure of arguments.
    threads : int
        Of a block.
    blocks : int
        That one multiprocessor must hold at once: a bound for registers.
    tensor_cores : bool
        Needs the matrix instructions of compute capability 8.0.
    """

    name: str
    header: str
    template: str
    arguments: str
    threads: int
    blocks: int
    tensor_cores: bool = False

    @property
    def source(self) -> str:
        """Source text for the compiler: the template's header, and this instance of it."""
        head = f"KERNEL({self.name}, {self.arguments}, {self.threads}, {self.blocks})"
        return f"#include <{self.header}>\n{head} {{ {self.template}(arguments); }}\n"


def _pools() -> Iterator[Kernel]:
    for short, element in ELEMENTS.values():
        for pool in ("max_pool", "max_pool_backward", "avg_pool", "avg_pool_backward"):
            yield Kernel(f"{pool}_{short}", "pool.cuh", f"{pool}<{element}>", "PoolArguments", 256, 6)
        for pool in ("site_max_pool", "site_max_pool_backward", "site_avg_pool"):
            yield Kernel(
                f"{pool}_{short}", "site_pool.cuh", f"{pool}<{element}>", "SitePoolArguments", 256, 6
            )


def _window_sums() -> Iterator[Kernel]:
    for dtype in ELEMENTS:
        own, wide = ELEMENTS[dtype], ELEMENTS[sum_dtype(dtype)]
        # Of taps, of sums so far, of results. Sums of 16-bit maps are wide; other maps have one type only.
        uses = (
            (own, own, wide),  # first pass of the first axis
            (own, wide, wide),  # its later passes
            (wide, wide, own),  # last pass of the second axis
            (own, own, own),  # only pass of an only axis
            (own, wide, own),  # last of its several passes
        )
        for types in dict.fromkeys(uses):
            name = "_".join(("window_sums", *(short for short, _ in types)))
            template = f"window_sums<{', '.join(element for _, element in types)}>"
            yield Kernel(name, "window_sums.cuh", template, "WindowSumsArguments", 256, 4)


def _products() -> Iterator[Kernel]:
    for dtype in PRODUCT_DTYPES:
        short, element = ELEMENTS[dtype]
        yield Kernel(
            f"sum_parts_{short}", "sum_parts.cuh", f"sum_parts<{element}>", "SumPartsArguments", 256, 4
        )
        for math in ("fma", "mma"):
            end = f"{short}_{math}"
            types = f"{element}, {math.capitalize()}<{element}>"
            tensor = math == "mma"
            # Packing for tensor cores rounds to tf32, which needs compute capability 8.0 as well.
            yield Kernel(f"pack_{end}", "pack.cuh", f"pack<{types}>", "PackArguments", 256, 4, tensor)
            yield Kernel(
                f"weight_grad_{end}",
                "weight_grad.cuh",
                f"weight_grad<{types}>",
                "WeightGradArguments",
                128,
                4,
                tensor,
            )
            for side in (32, 64):
                yield Kernel(
                    f"conv_{end}_{side}",
                    "conv.cuh",
                    f"conv<{types}, {side}>",
                    "ConvArguments",
                    128,
                    4,
                    tensor,
                )
            for rows, source in (("site", "TableRows"), ("pixel", "PixelRows")):
                yield Kernel(
                    f"{rows}_weight_grad_{end}",
                    "site_weight_grad.cuh",
                    f"site_weight_grad<{types}, {source}>",
                    "SiteWeightGradArguments",
                    128,
                    4,
                    tensor,
                )
                for side in (32, 64):
                    yield Kernel(
                        f"{rows}_conv_{end}_{side}",
                        "site_conv.cuh",
                        f"site_conv<{types}, {source}, {side}>",
                        "SiteConvArguments",
                        128,
                        4,
                        tensor,
                    )


#: Every kernel by name.
KERNELS_BY_NAME: Mapping[str, Kernel] = {
    kernel.name: kernel for kernel in (*_pools(), *_window_sums(), *_products())
}


def headers() -> dict[str, str]:
    """The sources by file name."""
    folder = resources.files("napari_dsparse.ops.cuda") / "sources"
    return {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".cuh")}
