// Convolution at active sites: gather, then product. Also its input gradient, which gathers through the
// inverse kernel map (no scatter, no atomics), and convolutions of channels-last maps (gather.cuh).
//
// 64 sites x COLUMNS output channels per block of four warps, walking the (tap, input channel) elements of a
// site's neighbourhood in one flat line, 32 words at a time: a gathered row is read as a run of up to 128
// bytes, and networks with one input channel fill their words with taps. Where channels come in whole
// quads, a lane fetches 16 bytes with one look into the kernel map.
//
// Memory traffic: x is read `taps` times, mostly from L2 (neighbours share rows), once for every tile of
// COLUMNS output channels; the kernel map once for each too; the result is written once.
#pragma once
#include <gather.cuh>
#include <tile.cuh>

struct SiteConvArguments {
    GatherArguments gather;
    const void* x;
    const word* weight;           // packed: [group][tile][word][COLUMNS]
    const void* bias;             // null for none
    void* out;
    int channels, outputs;        // of a group
    int groups;
    int elements, words;          // taps * channels; words padded to whole steps
    int quads;                    // 1: four words never leave a tap, and rows start at multiples of 16 bytes
    int column_tiles;
    int activation;
    float slope;
};

enum { SITES = 64, SITE_DEPTH = 32, SITE_LINE = SITE_DEPTH + 4 };

// Four words of neighbouring channels at a time.
template <class Element, class Math, class Rows>
DEVICE void gather_quads(word* a, const SiteConvArguments& p, const Rows& rows, const Element* x, int first,
                         int depth) {
    enum { VALUES = 4 * Math::PER_WORD };
    struct __align__(VALUES * sizeof(Element)) Quad {
        Element values[VALUES];
    };
    const int quad = threadIdx.x % 8 * 4, element = (first + quad) * Math::PER_WORD;
    if (quad >= depth) return;
    const int tap = element / p.channels, channel = element - tap * p.channels;
    for (int site = threadIdx.x / 8; site < SITES; site += 16) {
        const long long row = element < p.elements ? rows.row(site, tap) : -1;
        Quad from = {};
        if (row >= 0) from = *(const Quad*)(x + row * p.groups * p.channels + channel);
        WordQuad to;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            to.words[i] = Math::pack(from.values[i * Math::PER_WORD], from.values[(i + 1) * Math::PER_WORD - 1]);
        *(WordQuad*)(a + site * SITE_LINE + quad) = to;
    }
}

// A word at a time, for any number of channels.
template <class Element, class Math, class Rows>
DEVICE void gather_words(word* a, const SiteConvArguments& p, const Rows& rows, const Element* x, int first,
                         int depth) {
    const int lane = threadIdx.x % 32, low = (first + lane) * Math::PER_WORD, high = low + Math::PER_WORD - 1;
    if (lane >= depth) return;
    const int low_tap = low / p.channels, high_tap = high / p.channels;
    for (int site = threadIdx.x / 32; site < SITES; site += 4) {
        const long long low_row = low < p.elements ? rows.row(site, low_tap) : -1;
        const long long high_row = high >= p.elements ? -1 : high_tap == low_tap ? low_row : rows.row(site, high_tap);
        const int line = p.groups * p.channels;
        const Element low_value = low_row >= 0 ? x[low_row * line + low - low_tap * p.channels] : Element{};
        const Element high_value = high_row >= 0 ? x[high_row * line + high - high_tap * p.channels] : Element{};
        a[site * SITE_LINE + lane] = Math::pack(low_value, high_value);
    }
}

template <class Element, class Math, class Rows, int COLUMNS>
DEVICE void site_conv(const SiteConvArguments& p) {
    enum { LINE = COLUMNS + 8, WARP_COLUMNS = COLUMNS / 2 };
    SHARED_WORDS(shared);
    word* a = shared;                        // [SITES][SITE_LINE]
    word* b = shared + SITES * SITE_LINE;    // [SITE_DEPTH][LINE]
    Rows rows(p.gather, b + SITE_DEPTH * LINE);

    // Tiles of output channels are neighbours in the grid: they gather the same rows, from L2.
    long long rest = blockIdx.x;
    const int column_tile = (int)(rest % p.column_tiles);
    rest /= p.column_tiles;
    const int group = (int)(rest % p.groups);
    const long long first_site = rest / p.groups * SITES;
    rows.start(first_site, SITES);
    if (Rows::SHARES) __syncthreads();

    const Element* x = (const Element*)p.x + group * p.channels;
    const word* weight = p.weight + ((long long)group * p.column_tiles + column_tile) * p.words * COLUMNS;
    const int warp = threadIdx.x / 32, warp_site = warp % 2 * 32, warp_column = warp / 2 * WARP_COLUMNS;
    float sum[2][WARP_COLUMNS / 8][4] = {};
    for (int first = 0; first < p.words; first += SITE_DEPTH) {
        const int depth = min((int)SITE_DEPTH, p.words - first);
        if (p.quads)
            gather_quads<Element, Math>(a, p, rows, x, first, depth);
        else
            gather_words<Element, Math>(a, p, rows, x, first, depth);
        copy_lines(b, LINE, weight + (long long)first * COLUMNS, COLUMNS, depth, COLUMNS);
        __syncthreads();
#pragma unroll 1
        for (int step = 0; step < depth; step += STEP)
            multiply<Math>(sum, Tile{a + warp_site * SITE_LINE + step, SITE_LINE, 1},
                           Tile{b + step * LINE + warp_column, 1, LINE});
        __syncthreads();  // the next rows overwrite what slower warps may still read
    }

    const Element* bias = p.bias ? (const Element*)p.bias + group * p.outputs : nullptr;
    Element* out = (Element*)p.out + group * p.outputs;
    word* staged = shared;  // [32][LINE]: every warp's upper 16 sites, then the lower
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        stage_sums(staged + warp_site / 2 * LINE + warp_column, LINE, sum[half]);
        __syncthreads();
        for (int i = threadIdx.x; i < 32 * COLUMNS; i += 128) {
            const int line = i / COLUMNS, column = column_tile * COLUMNS + i % COLUMNS;
            const long long site = first_site + line / 16 * 32 + half * 16 + line % 16;
            if (site >= p.gather.sites || column >= p.outputs) continue;
            const float value = __uint_as_float(staged[line * LINE + i % COLUMNS]);
            narrow(activate(value + (bias ? widen(bias[column]) : 0.0f), p.activation, p.slope),
                   out[site * p.groups * p.outputs + column]);
        }
        __syncthreads();
    }
}
