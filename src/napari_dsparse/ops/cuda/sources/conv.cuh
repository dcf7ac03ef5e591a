// Convolution of whole maps in plain order (N, C, H, W), taps `dilation` apart; also its input gradient,
// which is the same sum over turned weights with the map padded by zeros.
//
// An implicit product: ROWS output channels x COLUMNS neighbouring pixels of one output row per block of four
// warps, walking (input channel, tap). Pixels of a row lie together in memory, and so do the values that a
// tap reads for them. The idea is to stage, per eight words of channels and per row of taps, one *strip* of
// the input row, long enough for `span` neighbouring taps: they read it at shifts of dilation_x words. So
// a value goes from L2 to shared memory once for `span` taps rather than once a tap, and two barriers
// enclose `span` products. Two 16-bit channels share a word, so a shift never splits a pair.
//
// Where there are few input channels (an image has one), eight words of channels would be mostly zeros.
// There the caller flattens the taps into the words instead (taps_y = taps_x = 1, every word its own
// shift).
//
// Loads are hidden by the other blocks of the multiprocessor, four of them, and not by a pipeline.
#pragma once
#include <tile.cuh>

struct ConvArguments {
    const void* x;
    const word* weight;  // packed: [group][tile][tap walked][word][ROWS]
    const void* bias;    // null for none
    void* out;
    int channels, height, width;         // of a group of x
    int outputs, out_height, out_width;  // of a group of out
    int groups;
    int taps_y, taps_x;                  // walked, row by row
    int flat_x;                          // taps per row among those flattened into the words
    int dilation_y, dilation_x, pad_y, pad_x;
    int elements, words;                 // of one walked tap: values, and words padded to whole steps
    int span;                            // taps that share a strip
    int strip;                           // words of a strip with padding: 8 modulo 32
    int row_tiles, column_tiles;
    int activation;
    float slope;
};

// The values that one element of a word reads along a strip; zeros outside the map.
template <class Element>
struct StripSource {
    const Element* row;
    int first, width;

    DEVICE StripSource(const ConvArguments& p, const Element* image, int element, int y, int x) {
        const int tap = element / p.channels, channel = element - tap * p.channels;
        y += tap / p.flat_x * p.dilation_y;
        first = x + tap % p.flat_x * p.dilation_x;
        row = image + ((long long)channel * p.height + y) * p.width;
        width = element < p.elements && y >= 0 && y < p.height ? p.width : 0;
    }

    DEVICE Element at(int index) const {
        const int x = first + index;
        return x >= 0 && x < width ? row[x] : Element{};
    }
};

template <class Element, class Math>
DEVICE void load_strips(word* strips, const ConvArguments& p, const Element* image, int first_word, int y, int x,
                        int length) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1
    for (int line = warp; line < STEP; line += 4) {
        const int element = (first_word + line) * Math::PER_WORD;
        const StripSource<Element> low(p, image, element, y, x);
        const StripSource<Element> high(p, image, element + Math::PER_WORD - 1, y, x);
        for (int i = lane; i < length; i += 32) strips[line * p.strip + i] = Math::pack(low.at(i), high.at(i));
    }
}

template <class Element, class Math, int ROWS>
DEVICE void conv(const ConvArguments& p) {
    enum { COLUMNS = 128, LINE = ROWS + 8, STAGE_LINE = COLUMNS + 8 };
    enum { WARPS_DOWN = ROWS / 32, WARP_COLUMNS = COLUMNS * WARPS_DOWN / 4 };
    SHARED_WORDS(shared);
    word* strips = shared;                    // [STEP][strip]
    word* weights = shared + STEP * p.strip;  // [span][STEP][LINE]

    // Tiles of output channels are neighbours in the grid: they read the same strips, from L2.
    long long rest = blockIdx.x;
    const int row_tile = (int)(rest % p.row_tiles);
    rest /= p.row_tiles;
    const int out_x = (int)(rest % p.column_tiles) * COLUMNS;
    rest /= p.column_tiles;
    const int out_y = (int)(rest % p.out_height);
    rest /= p.out_height;  // image * groups + group
    const int group = (int)(rest % p.groups);

    const Element* image = (const Element*)p.x + rest * p.channels * p.height * p.width;
    const int walked = p.taps_y * p.taps_x;
    const word* tile = p.weight + ((long long)group * p.row_tiles + row_tile) * walked * p.words * ROWS;
    const int warp = threadIdx.x / 32;
    const int warp_row = warp % WARPS_DOWN * 32, warp_column = warp / WARPS_DOWN * WARP_COLUMNS;

    float sum[2][WARP_COLUMNS / 8][4] = {};
    for (int first = 0; first < p.words; first += STEP)
        for (int ty = 0; ty < p.taps_y; ++ty)
            for (int tx = 0; tx < p.taps_x; tx += p.span) {
                const int taps = min(p.span, p.taps_x - tx);
                load_strips<Element, Math>(strips, p, image, first, out_y - p.pad_y + ty * p.dilation_y,
                                           out_x - p.pad_x + tx * p.dilation_x,
                                           COLUMNS + (taps - 1) * p.dilation_x);
#pragma unroll 1
                for (int tap = 0; tap < taps; ++tap)
                    copy_lines(weights + tap * STEP * LINE, LINE,
                               tile + ((long long)(ty * p.taps_x + tx + tap) * p.words + first) * ROWS, ROWS,
                               STEP, ROWS);
                __syncthreads();
#pragma unroll 1
                for (int tap = 0; tap < taps; ++tap) {
                    const Tile a = {weights + tap * STEP * LINE + warp_row, 1, LINE};
                    const Tile b = {strips + warp_column + tap * p.dilation_x, 1, p.strip};
                    multiply<Math>(sum, a, b);
                }
                __syncthreads();  // the next strips overwrite what slower warps may still read
            }

    Element* out = (Element*)p.out + rest * p.outputs * p.out_height * p.out_width;
    const Element* bias = p.bias ? (const Element*)p.bias + group * p.outputs : nullptr;
    word* staged = shared;  // [16 WARPS_DOWN][COLUMNS + 8]: every warp's upper 16 rows, then the lower
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        stage_sums(staged + warp_row / 2 * STAGE_LINE + warp_column, STAGE_LINE, sum[half]);
        __syncthreads();
        for (int line = warp; line < 16 * WARPS_DOWN; line += 4) {
            const int row = row_tile * ROWS + line / 16 * 32 + half * 16 + line % 16;
            if (row >= p.outputs) continue;
            const float start = bias ? widen(bias[row]) : 0.0f;
            Element* to = out + ((long long)row * p.out_height + out_y) * p.out_width;
            for (int i = threadIdx.x % 32; i < COLUMNS && out_x + i < p.out_width; i += 32)
                narrow(activate(__uint_as_float(staged[line * STAGE_LINE + i]) + start, p.activation, p.slope),
                       to[out_x + i]);
        }
        __syncthreads();
    }
}
