// Weight gradient of a convolution of whole maps in plain order: for every output channel and every
// (input channel, tap), a sum over all pixels.
//
// A product of 64 output channels x 64 (channel, tap) columns a block, as deep as there are pixels. Pixels
// lie together in memory for both factors, so tiles are [row][word of pixels]. The depth is cut into units
// (32 words of one output row) and the units into `splits` parts, one block each, which sum_parts adds up
// in order: the same bits at every run. Flattened columns keep tiles full where channels are few.
#pragma once
#include <tile.cuh>

struct WeightGradArguments {
    const void* x;
    const void* grad;
    float* parts;                        // [split][output channel][input channel of the group][tap]
    int channels, height, width;         // of a group of x
    int outputs, out_height, out_width;  // of a group of grad
    int groups;
    int taps, taps_x;
    int dilation_y, dilation_x;
    int row_tiles, column_tiles;
    int units_per_row;                   // units of an output row
    long long units, units_per_split;
};

// One word of neighbouring pixels; zeros after the end of the row.
template <class Element, class Math>
DEVICE word pixels(const Element* row, int x, int width) {
    const int last = x + Math::PER_WORD - 1;
    return Math::pack(x < width ? row[x] : Element{}, last < width ? row[last] : Element{});
}

template <class Element, class Math>
DEVICE void weight_grad(const WeightGradArguments& p) {
    enum { SIDE = 64, DEPTH = 32, LINE = DEPTH + 4 };
    SHARED_WORDS(shared);
    word* a = shared;                                     // [SIDE][LINE], output channels
    word* b = shared + SIDE * LINE;                       // [SIDE][LINE], (channel, tap) columns
    long long* shift = (long long*)(b + SIDE * LINE);     // [SIDE]: from an image's start to a column's values

    long long rest = blockIdx.x;
    const int row_tile = (int)(rest % p.row_tiles) * SIDE;
    rest /= p.row_tiles;
    const int column_tile = (int)(rest % p.column_tiles) * SIDE;
    rest /= p.column_tiles;
    const int group = (int)(rest % p.groups);
    const long long split = rest / p.groups;

    const int columns = p.channels * p.taps, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x < SIDE) {
        const int column = column_tile + (int)threadIdx.x, channel = column / p.taps, tap = column % p.taps;
        shift[threadIdx.x] = ((long long)channel * p.height + tap / p.taps_x * p.dilation_y) * p.width +
                             tap % p.taps_x * p.dilation_x;
    }
    __syncthreads();

    const int warp_row = warp % 2 * 32, warp_column = warp / 2 * 32;
    const long long plane = (long long)p.height * p.width, out_plane = (long long)p.out_height * p.out_width;
    const long long end = min(p.units, (split + 1) * p.units_per_split);
    float sum[2][4][4] = {};
    for (long long unit = split * p.units_per_split; unit < end; ++unit) {
        const long long line = divide(unit, p.units_per_row);  // image * out_height + y
        const int x = ((int)(unit - line * p.units_per_row) * DEPTH + lane) * Math::PER_WORD;
        const long long image = divide(line, p.out_height);
        const int y = (int)(line - image * p.out_height);
        const Element* grad = (const Element*)p.grad + (image * p.groups + group) * p.outputs * out_plane +
                              (long long)y * p.out_width;
        const Element* values = (const Element*)p.x + (image * p.groups + group) * p.channels * plane +
                                (long long)y * p.width;
        for (int row = warp; row < SIDE; row += 4) {
            const bool row_inside = row_tile + row < p.outputs, column_inside = column_tile + row < columns;
            a[row * LINE + lane] = pixels<Element, Math>(grad + (row_tile + row) * out_plane, x,
                                                         row_inside ? p.out_width : 0);
            b[row * LINE + lane] = pixels<Element, Math>(values + shift[row], x,
                                                         column_inside ? p.out_width : 0);
        }
        __syncthreads();
#pragma unroll 1
        for (int step = 0; step < DEPTH; step += STEP)
            multiply<Math>(sum, Tile{a + warp_row * LINE + step, LINE, 1},
                           Tile{b + warp_column * LINE + step, LINE, 1});
        __syncthreads();
    }

    float* part = p.parts + split * p.groups * p.outputs * columns;
    each_sum(sum, [&](int row, int column, float value) {
        row += row_tile + warp_row;
        column += column_tile + warp_column;
        if (row < p.outputs && column < columns)
            part[((long long)group * p.outputs + row) * columns + column] = value;
    });
}
