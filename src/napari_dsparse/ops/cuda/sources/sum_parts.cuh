// Adds up the parts of a weight gradient, first to last: the fixed order that makes results repeat bit for
// bit, where atomics would not. Also brings the values into the order of the weights.
#pragma once
#include <numbers.cuh>

struct SumPartsArguments {
    const float* parts;                     // [split][total values, in an order of their own]
    void* out;                              // (outputs, channels, taps)
    long long total;
    int splits;
    int channels, taps;
    long long output_stride, channel_stride, tap_stride;  // in a part
};

template <class Element>
DEVICE void sum_parts(const SumPartsArguments& p) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= p.total) return;
    const long long line = divide(at, p.taps), output = divide(line, p.channels);
    const float* part = p.parts + output * p.output_stride + (line - output * p.channels) * p.channel_stride +
                        (at - line * p.taps) * p.tap_stride;
    float sum = 0;
    for (int split = 0; split < p.splits; ++split) sum += part[split * p.total];
    narrow(sum, ((Element*)p.out)[at]);
}
