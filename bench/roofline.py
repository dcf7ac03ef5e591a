"""Bytes that each kernel must move, operations it must perform, and the least time they take.

The counts follow from shapes and from how the kernels are tiled (src/napari_dsparse/ops/README.md). Times
made of them are *predictions*, lower bounds for a device's published or measured rates, and are called so
wherever they are printed.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_dsparse.ops.cuda.argument_groups import up
from napari_dsparse.ops.cuda.convolutions import COLUMNS, flattening_pays, span_and_strip
from napari_dsparse.ops.cuda.weights import STEP, PackedWeight
from napari_dsparse.ops.cuda.window_sums import passes


@dataclass(frozen=True, slots=True)
class Rates:
    """Peak rates of a device.

    Parameters
    ----------
    name : str
    bandwidth : float
        Bytes/s of DRAM.
    multiply_adds : dict
        FLOP/s by arithmetic: "fma" (fp32), "tf32", "16" (bf16 and fp16 on tensor cores).
    shared : float
        Words of 32 bits per second between shared memory, L1 and registers, over the whole device: one
        warp-wide access per clock and multiprocessor.
    """

    name: str
    bandwidth: float
    multiply_adds: dict[str, float]
    shared: float


#: NVIDIA's figures for the SXM board at its boost clock, dense.
H100 = Rates(
    "H100 SXM, published rates",
    3.35e12,
    {"fma": 67e12, "tf32": 494e12, "16": 989e12},
    132 * 1.755e9 * 32,
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Work of one call.

    Parameters
    ----------
    bytes : float
        To and from DRAM: every input once, every result once.
    flops : float
        Useful ones, a multiply-add as two.
    arithmetic : str
        Key of `Rates.multiply_adds`.
    shared_words : float
        Words through the load/store units: staging tiles and reading fragments out of them; taps of pools.
    """

    bytes: float
    flops: float
    arithmetic: str = "fma"
    shared_words: float = 0.0

    def seconds(self, rates: Rates) -> tuple[float, str]:
        """Least time, and its limiting resource."""
        bounds = {
            "DRAM": self.bytes / rates.bandwidth,
            "multiply-adds": self.flops / rates.multiply_adds[self.arithmetic],
            "shared memory": self.shared_words / rates.shared,
        }
        limit = max(bounds, key=lambda name: bounds[name])
        return bounds[limit], limit


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on one map; `size` is that of its output, rows and columns alike."""

    name: str
    channels: int
    outputs: int
    size: int
    taps: int  # an axis
    dilation: int
    value_bytes: int = 4
    arithmetic: str = "fma"

    @property
    def values_in(self) -> int:
        """Values of the input map."""
        return self.channels * (self.size + (self.taps - 1) * self.dilation) ** 2

    def pool(self, *, winners: bool) -> Counts:
        """A max-pool (with winners) or an average-pool, forward or backward: the same map in and out."""
        out = self.channels * self.size**2
        per_value = self.value_bytes + (1 if winners else 0)
        reads = out * self.taps**2
        return Counts(self.values_in * self.value_bytes + out * per_value, reads, shared_words=reads)

    def wide_pool(self) -> Counts:
        """An average-pool by doubling, forward or backward: intermediate sums are written and read."""
        side, sum_bytes = self.size + (self.taps - 1) * self.dilation, max(4, self.value_bytes)
        launches = passes(self.taps)
        moved = additions = loads = 0
        # Sums of columns first, then of their rows.
        for lines, of_taps, of_results in (
            (side, self.value_bytes, sum_bytes),
            (self.size, sum_bytes, self.value_bytes),
        ):
            for one in launches:
                taps, windows, results = (
                    self.channels * lines * (side - (window - 1) * self.dilation)
                    for window in (1, one.window, one.taps)
                )
                moved += windows * (of_taps if one is launches[0] else sum_bytes)
                moved += results * (of_results if one is launches[-1] else sum_bytes)
                moved += taps * of_taps * (one.maps - 2)  # further taps
                loads += results * one.loads
                additions += results * (one.loads - 1)
        return Counts(moved, additions, shared_words=loads)

    def conv(self) -> Counts:
        """Forward; the input gradient is the same with channels and outputs exchanged."""
        per_word = 2 if self.arithmetic == "16" else 1
        flat = flattening_pays(self.channels, self.taps**2, per_word)
        elements = self.channels * (self.taps**2 if flat else 1)
        depth = up(-(-elements // per_word), STEP)
        tile = 64 if up(self.outputs, 64) == up(self.outputs, 32) else 32
        packed = PackedWeight(None, self.outputs, tile, up(self.outputs, tile) // tile, elements, depth)  # type: ignore[arg-type]
        walked = 1 if flat else self.taps
        span, _ = span_and_strip(walked, self.dilation, packed)
        turns = -(-walked // span)
        strip = STEP * (COLUMNS + (span - 1) * self.dilation) * (per_word + 1)  # read, then stored
        weights = STEP * tile * 2 * span
        # Four warps share a tile of `tile` x 128: 32 rows (4 words a lane for 16) and 8 columns at a time.
        columns = COLUMNS * (tile // 32) // 4
        fma = self.arithmetic == "fma"
        fragments = 4 * 32 * (STEP * (4 + columns // 4) if fma else 8 + columns // 4) * span
        steps = depth // STEP * walked * turns
        blocks = self.size * -(-self.size // COLUMNS) * packed.row_tiles
        flops = 2 * self.taps**2 * self.channels * self.outputs * self.size**2
        moved = (self.values_in + self.outputs * self.size**2) * self.value_bytes
        return Counts(moved, flops, self.arithmetic, blocks * steps * (strip + weights + fragments))

    def weight_grad(self) -> Counts:
        """Both maps once; in truth once for every tile of 64 (channel, tap) columns, from L2."""
        per_word = 2 if self.arithmetic == "16" else 1
        fma = self.arithmetic == "fma"
        tiles = up(self.outputs, 64) // 64 * (up(self.channels * self.taps**2, 64) // 64)
        units = self.size * -(-self.size // (32 * per_word))
        staged = 2 * 64 * 32 * (per_word + 1)
        fragments = 4 * 4 * 32 * (STEP * (4 + 8) if fma else 8 + 8)
        flops = 2 * self.taps**2 * self.channels * self.outputs * self.size**2
        moved = (self.values_in + self.outputs * self.size**2) * self.value_bytes
        return Counts(moved, flops, self.arithmetic, tiles * units * (staged + fragments))


@dataclass(frozen=True, slots=True)
class SiteLayer:
    """One layer at active sites: `sites` written, `inputs` read."""

    name: str
    channels: int
    outputs: int
    sites: int
    inputs: int
    taps: int  # in all
    value_bytes: int = 4
    arithmetic: str = "fma"

    def conv(self) -> Counts:
        """Rows once from DRAM (each `taps` times from L2), the kernel map, the results."""
        per_word = 2 if self.arithmetic == "16" else 1
        fma = self.arithmetic == "fma"
        tile = 64 if up(self.outputs, 64) == up(self.outputs, 32) else 32
        words = up(-(-self.channels * self.taps // per_word), STEP)
        blocks = -(-self.sites // 64) * (up(self.outputs, tile) // tile)
        staged = words * (64 + tile) * 2 + self.taps * 64
        columns = tile // 2
        fragments = words // STEP * 4 * 32 * (STEP * (4 + columns // 4) if fma else 8 + columns // 4)
        flops = 2 * self.taps * self.channels * self.outputs * self.sites
        moved = (self.inputs * self.channels + self.sites * self.outputs) * self.value_bytes
        moved += 4 * self.sites * self.taps
        return Counts(moved, flops, self.arithmetic, blocks * (staged + fragments))

    def weight_grad(self) -> Counts:
        """The same rows and map, and the gradient's rows; each `taps` times from L2."""
        per_word = 2 if self.arithmetic == "16" else 1
        fma = self.arithmetic == "fma"
        tiles = up(self.outputs, 64) // 64 * (up(self.channels * self.taps, 64) // 64)
        units = -(-self.sites // (32 * per_word))
        staged = 2 * 64 * 32 * (per_word + 1) + 64 * 32 * per_word
        fragments = 4 * 4 * 32 * (STEP * (4 + 8) if fma else 8 + 8)
        flops = 2 * self.taps * self.channels * self.outputs * self.sites
        moved = (self.inputs * self.channels + self.sites * self.outputs) * self.value_bytes
        moved += 4 * self.sites * self.taps
        return Counts(moved, flops, self.arithmetic, tiles * units * (staged + fragments))

    def pool(self) -> Counts:
        """Rows once, the map, results and winners; every lane reads the map for itself."""
        moved = (self.inputs + self.sites) * self.channels * self.value_bytes + self.sites * self.channels
        reads = self.sites * self.channels * self.taps
        return Counts(moved + 4 * self.sites * self.taps, reads, shared_words=2 * reads)


def main() -> None:
    """Print the table of the README: predicted times on an H100."""
    side = 2048
    layers = (
        Layer("conv 5x5, 1 -> 32, d 1", 1, 32, side, 5, 1),
        Layer("conv 5x5, 32 -> 48, d 2", 32, 48, side, 5, 2),
        Layer("conv 3x3, 48 -> 64, d 4", 48, 64, side, 3, 4),
        Layer("conv 5x5, 64 -> 128, d 8", 64, 128, side, 5, 8),
        Layer("conv 1x1, 128 -> 2, d 8", 128, 2, side, 1, 8),
    )
    print(f"Predicted (least) times on an {H100.name}, {side} x {side} results.\n")
    print("| kernel | arithmetic | MB | GFLOP | predicted ms | set by |")
    print("|---|---|---|---|---|---|")
    rows: list[tuple[str, str, Counts]] = []
    pool = Layer("", 32, 32, side, 2, 2)
    rows += [("max-pool 2x2, 32 channels, d 2, forward or backward", "fp32", pool.pool(winners=True))]
    rows += [("avg-pool 2x2, 32 channels, d 2, forward or backward", "fp32", pool.pool(winners=False))]
    for taps, dilation in ((33, 4), (193, 1)):
        wide = Layer("", 32, 32, side, taps, dilation)
        name = f"avg-pool {taps}x{taps}, 32 channels, d {dilation}, forward or backward"
        rows += [(name, "fp32", wide.wide_pool())]
    kinds = (("fp32", "fma", 4), ("tf32", "tf32", 4), ("bf16", "16", 2))
    for layer in layers:
        for shown, arithmetic, size in kinds:
            case = Layer(
                layer.name, layer.channels, layer.outputs, side, layer.taps, layer.dilation, size, arithmetic
            )
            rows.append((f"{layer.name}, forward", shown, case.conv()))
            if layer.taps > 1:
                rows.append((f"{layer.name}, weight gradient", shown, case.weight_grad()))
    for shown, arithmetic, size in kinds:
        sites = SiteLayer("", 32, 48, 60_000, 90_000, 25, size, arithmetic)
        rows.append(("60,000 sites, conv 5x5, 32 -> 48, forward", shown, sites.conv()))
        rows.append(("60,000 sites, conv 5x5, 32 -> 48, weight gradient", shown, sites.weight_grad()))
    rows.append(
        ("60,000 sites, max-pool 2x2, 32 channels", "fp32", SiteLayer("", 32, 32, 60_000, 90_000, 4).pool())
    )
    for name, shown, counts in rows:
        seconds, limit = counts.seconds(H100)
        print(
            f"| {name} | {shown} | {counts.bytes / 1e6:,.0f} | {counts.flops / 1e9:,.1f} "
            f"| {seconds * 1e3:.3f} | {limit} |"
        )


if __name__ == "__main__":
    main()
