// Weight gradient of a convolution at active sites (or of a channels-last map): for every (tap, input
// channel) element and every output channel, a sum over all sites.
//
// A product of 64 elements x 64 output channels per block, as deep as there are sites. Channels lie together
// in memory, so tiles are [word of sites][element or channel]; a thread keeps its element for the whole
// walk, and with it its tap and channel. The depth is cut into units of 32 words of sites and the units
// into `splits` parts, which sum_parts adds up in order: the same bits at every run.
#pragma once
#include <gather.cuh>
#include <tile.cuh>

struct SiteWeightGradArguments {
    GatherArguments gather;
    const void* x;
    const void* grad;
    float* parts;            // [split][tap][input channel of the group][output channel]
    int channels, outputs;   // of a group
    int groups;
    int row_tiles, column_tiles;
    long long units, units_per_split;
};

template <class Element, class Math, class Rows>
DEVICE void site_weight_grad(const SiteWeightGradArguments& p) {
    enum { SIDE = 64, DEPTH = 32, LINE = SIDE + 8, RUN = DEPTH * Math::PER_WORD };
    SHARED_WORDS(shared);
    word* a = shared;                  // [DEPTH][LINE], elements
    word* b = shared + DEPTH * LINE;   // [DEPTH][LINE], output channels
    Rows rows(p.gather, b + DEPTH * LINE);

    long long rest = blockIdx.x;
    const int row_tile = (int)(rest % p.row_tiles) * SIDE;
    rest /= p.row_tiles;
    const int column_tile = (int)(rest % p.column_tiles) * SIDE;
    rest /= p.column_tiles;
    const int group = (int)(rest % p.groups);
    const long long split = rest / p.groups;

    const int elements = p.gather.taps * p.channels, line = threadIdx.x % SIDE;
    const int element = row_tile + line, tap = element / p.channels, output = column_tile + line;
    const Element* x = (const Element*)p.x + group * p.channels + (element - tap * p.channels);
    const Element* grad = (const Element*)p.grad + group * p.outputs + output;
    const auto x_value = [&](int site) {
        const long long row = element < elements ? rows.row(site, tap) : -1;
        return row >= 0 ? x[row * p.groups * p.channels] : Element{};
    };
    const auto grad_value = [&](long long site) {
        return output < p.outputs && site < p.gather.sites ? grad[site * p.groups * p.outputs] : Element{};
    };

    const int warp = threadIdx.x / 32, warp_row = warp % 2 * 32, warp_column = warp / 2 * 32;
    const long long end = min(p.units, (split + 1) * p.units_per_split);
    float sum[2][4][4] = {};
    for (long long unit = split * p.units_per_split; unit < end; ++unit) {
        const long long first = unit * RUN;
        rows.start(first, RUN);
        if (Rows::SHARES) __syncthreads();
        for (int depth = threadIdx.x / SIDE; depth < DEPTH; depth += 2) {
            const int low = depth * Math::PER_WORD, high = low + Math::PER_WORD - 1;
            a[depth * LINE + line] = Math::pack(x_value(low), x_value(high));
            b[depth * LINE + line] = Math::pack(grad_value(first + low), grad_value(first + high));
        }
        __syncthreads();
#pragma unroll 1
        for (int step = 0; step < DEPTH; step += STEP)
            multiply<Math>(sum, Tile{a + step * LINE + warp_row, 1, LINE},
                           Tile{b + step * LINE + warp_column, 1, LINE});
        __syncthreads();
    }

    const long long width = (long long)p.groups * p.outputs;
    float* part = p.parts + split * elements * width + group * p.outputs;
    each_sum(sum, [&](int row, int column, float value) {
        row += row_tile + warp_row;
        column += column_tile + warp_column;
        if (row < elements && column < p.outputs) part[row * width + column] = value;
    });
}
