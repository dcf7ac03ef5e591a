// The number types of maps and rows, and the type their sums are kept in.
#pragma once
#include <port.cuh>

struct Bf16 {
    unsigned short bits;
};

struct F16 {
    unsigned short bits;
};

template <class Element>
struct SumOf {
    typedef float type;
};
template <>
struct SumOf<double> {
    typedef double type;
};

DEVICE float widen(float value) { return value; }
DEVICE double widen(double value) { return value; }
DEVICE float widen(F16 value) { return f16_to_float(value.bits); }
DEVICE float widen(Bf16 value) { return __uint_as_float((word)value.bits << 16); }

DEVICE void narrow(float value, float& to) { to = value; }
DEVICE void narrow(double value, double& to) { to = value; }
DEVICE void narrow(float value, F16& to) { to.bits = float_to_f16(value); }
DEVICE void narrow(float value, Bf16& to) {
    // Round to nearest, ties to even. A NaN keeps its own way out: the carry would turn it into zero.
    const word bits = __float_as_uint(value);
    to.bits = value != value ? 0x7fc0 : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// What the schema calls an activation, applied to the sum with the bias.
enum Activation { NONE = 0, RELU = 1, TANH = 2 };

DEVICE float activate(float value, int activation, float slope) {
    if (activation == RELU) return value < 0.0f ? value * slope : value;
    if (activation == TANH) return tanhf(value);
    return value;
}

// A 64-bit quotient, by the much cheaper 32-bit division where the number allows.
DEVICE long long divide(long long number, int by) {
    return number < 0x100000000LL ? (long long)((word)number / (word)by) : number / by;
}
