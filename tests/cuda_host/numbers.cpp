// 16-bit floats, and the matrix product of a warp.
#include <cmath>

#include "grid.hpp"

namespace host {

float float_of_half(unsigned short bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value;
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        value = std::ldexp((float)fraction, -24);
    else
        value = std::ldexp((float)(fraction + 1024), exponent - 25);
    return bits >> 15 ? -value : value;
}

unsigned short half_of(float value) {
    const unsigned short sign = bits_of(value) >> 31 << 15;
    const float size = std::fabs(value);
    if (value != value) return sign | 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size == 0.0f) return sign;
    int exponent;
    std::frexp(size, &exponent);  // size < 2^exponent
    const int last = exponent - 11 > -24 ? exponent - 11 : -24;
    const int steps = (int)std::nearbyint(std::ldexp(size, -last));  // ties to even
    if (last == -24) return sign | (unsigned short)steps;  // a carry makes the smallest normal number
    return sign | (unsigned short)(((last + 24) << 10) + steps);
}

static float value_of(Kind kind, word bits, int half) {
    if (kind == TF32) return float_of(bits & 0xffffe000u);  // the hardware reads no further
    const unsigned short part = half ? bits >> 16 : bits & 0xffff;
    return kind == BF16 ? float_of((word)part << 16) : float_of_half(part);
}

// Lane and word of a fragment that hold a value, by the tables of the PTX manual.
static float a_at(Kind kind, const Fragment* const* warp, int row, int k) {
    if (kind == TF32) return value_of(kind, warp[row % 8 * 4 + k % 4]->a[row / 8 + k / 4 * 2], 0);
    return value_of(kind, warp[row % 8 * 4 + k % 8 / 2]->a[row / 8 + k / 8 * 2], k % 2);
}

static float b_at(Kind kind, const Fragment* const* warp, int k, int column) {
    if (kind == TF32) return value_of(kind, warp[column * 4 + k % 4]->b[k / 4], 0);
    return value_of(kind, warp[column * 4 + k % 8 / 2]->b[k / 8], k % 2);
}

void mma_of_warp(Kind kind, const Fragment* const* warp, float* const* sums) {
    const int depth = kind == TF32 ? 8 : 16;
    float a[16][16], b[16][8];
    for (int k = 0; k < depth; ++k) {
        for (int row = 0; row < 16; ++row) a[row][k] = a_at(kind, warp, row, k);
        for (int column = 0; column < 8; ++column) b[k][column] = b_at(kind, warp, k, column);
    }
    for (int lane = 0; lane < 32; ++lane)
        for (int part = 0; part < 4; ++part) {
            const int row = lane / 4 + part / 2 * 8, column = lane % 4 * 2 + part % 2;
            for (int k = 0; k < depth; ++k) sums[lane][part] += a[row][k] * b[k][column];
        }
}

}  // namespace host

// Out of line and in C, for the tests of these very conversions.
extern "C" float host_float_of_half(unsigned short bits) { return host::float_of_half(bits); }
extern "C" unsigned short host_half_of(float value) { return host::half_of(value); }
