// The product of two tiles in shared memory, eight words deep, by one warp: by fp32 multiply-adds (Fma) or
// on tensor cores (Mma). Both leave every sum in the same lane, so that all kernels share one epilogue.
#pragma once
#include <numbers.cuh>

// One value per word, always fp32: exact products, any architecture.
template <class Element>
struct Fma {
    static constexpr bool TENSOR = false;
    static constexpr int PER_WORD = 1;
    static DEVICE word pack(Element value, Element) { return __float_as_uint(widen(value)); }
    static DEVICE void mma(float (&)[4], const word (&)[4], const word (&)[2]) {}
};

// Tensor cores (sm_80 and later): tf32 for float, two values per word for the 16-bit types.
template <class Element>
struct Mma;

template <>
struct Mma<float> {
    static constexpr bool TENSOR = true;
    static constexpr int PER_WORD = 1;
    static DEVICE word pack(float value, float) { return float_to_tf32(value); }
    static DEVICE void mma(float (&sum)[4], const word (&a)[4], const word (&b)[2]) { mma_tf32(sum, a, b); }
};

template <>
struct Mma<Bf16> {
    static constexpr bool TENSOR = true;
    static constexpr int PER_WORD = 2;
    static DEVICE word pack(Bf16 low, Bf16 high) { return low.bits | (word)high.bits << 16; }
    static DEVICE void mma(float (&sum)[4], const word (&a)[4], const word (&b)[2]) { mma_bf16(sum, a, b); }
};

template <>
struct Mma<F16> {
    static constexpr bool TENSOR = true;
    static constexpr int PER_WORD = 2;
    static DEVICE word pack(F16 low, F16 high) { return low.bits | (word)high.bits << 16; }
    static DEVICE void mma(float (&sum)[4], const word (&a)[4], const word (&b)[2]) { mma_f16(sum, a, b); }
};

enum { STEP = 8 };  // words that one product is deep

// Where a tile's words lie in shared memory. Free of bank conflicts if one stride is 1 and the other is
// 8 modulo 32 (words outside) or 4 modulo 32 (words inside): a warp reads 8 lines of 4 neighbours.
struct Tile {
    const word* words;
    int line;   // words from one row (of a) or column (of b) to the next
    int depth;  // words from one step of the product to the next
};

// sum += a (16 MT x 8 words) times b (8 words x 8 NT); fragments as port.cuh lays them out.
template <class Math, int MT, int NT>
DEVICE void multiply(float (&sum)[MT][NT][4], Tile a, Tile b) {
    const int g = (threadIdx.x % 32) / 4, q = threadIdx.x % 4;
    if (Math::TENSOR) {
        word columns[NT][2];
#pragma unroll
        for (int j = 0; j < NT; ++j) {
            const word* from = b.words + (j * 8 + g) * b.line + q * b.depth;
            columns[j][0] = from[0];
            columns[j][1] = from[4 * b.depth];
        }
#pragma unroll
        for (int i = 0; i < MT; ++i) {
            const word* from = a.words + (i * 16 + g) * a.line + q * a.depth;
            const word rows[4] = {from[0], from[8 * a.line], from[4 * a.depth], from[8 * a.line + 4 * a.depth]};
#pragma unroll
            for (int j = 0; j < NT; ++j) Math::mma(sum[i][j], rows, columns[j]);
        }
        return;
    }
#pragma unroll
    for (int step = 0; step < STEP; ++step) {
        float columns[NT][2];
#pragma unroll
        for (int j = 0; j < NT; ++j) {
            const word* from = b.words + (j * 8 + 2 * q) * b.line + step * b.depth;
            columns[j][0] = __uint_as_float(from[0]);
            columns[j][1] = __uint_as_float(from[b.line]);
        }
#pragma unroll
        for (int i = 0; i < MT; ++i) {
            const word* from = a.words + (i * 16 + g) * a.line + step * a.depth;
            const float low = __uint_as_float(from[0]), high = __uint_as_float(from[8 * a.line]);
#pragma unroll
            for (int j = 0; j < NT; ++j) {
                sum[i][j][0] += low * columns[j][0];
                sum[i][j][1] += low * columns[j][1];
                sum[i][j][2] += high * columns[j][0];
                sum[i][j][3] += high * columns[j][1];
            }
        }
    }
}

// Calls use(row, column, sum) for each sum this lane holds.
template <int MT, int NT, class Use>
DEVICE void each_sum(const float (&sum)[MT][NT][4], Use use) {
    const int g = (threadIdx.x % 32) / 4, q = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < MT; ++i)
#pragma unroll
        for (int j = 0; j < NT; ++j)
#pragma unroll
            for (int part = 0; part < 4; ++part)
                use(i * 16 + g + part / 2 * 8, j * 8 + 2 * q + part % 2, sum[i][j][part]);
}

// Puts 16 x 8 NT sums of this warp into a tile of shared memory whose columns are neighbours. Results leave
// through there: straight from the fragments a warp would write eight lines of 32 bytes at a time.
template <int NT>
DEVICE void stage_sums(word* to, int line, const float (&sum)[NT][4]) {
    const int g = (threadIdx.x % 32) / 4, q = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < NT; ++j)
#pragma unroll
        for (int part = 0; part < 4; ++part)
            to[(g + part / 2 * 8) * line + j * 8 + 2 * q + part % 2] = __float_as_uint(sum[j][part]);
}

struct __align__(16) WordQuad {
    word words[4];
};

// Copies `lines` lines of `length` words (a multiple of 4) from global memory, 16 bytes at a time.
DEVICE void copy_lines(word* to, int to_line, const word* from, long long from_line, int lines, int length) {
    const int quads = length / 4;
    for (int i = threadIdx.x; i < lines * quads; i += blockDim.x) {
        const int line = i / quads, at = i % quads * 4;
        *(WordQuad*)(to + line * to_line + at) = *(const WordQuad*)(from + line * from_line + at);
    }
}
