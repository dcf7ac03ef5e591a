// The host's side of the words in which a GPU differs (sources/port.cuh): found first on the include path
// when g++ compiles the kernels for the tests. A block's threads are fibres (grid.hpp).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "grid.hpp"

#define DEVICE inline
#define __align__(bytes) alignas(bytes)
#define threadIdx (host::Index{host::self().thread})
#define blockIdx (host::Index{host::self().block})
#define blockDim (host::Index{host::self().threads})
#define __syncthreads() host::barrier()
#define SHARED_WORDS(name) word* const name = host::self().shared
#define KERNEL(name, Arguments, threads, blocks)                                             \
    static void name##_body(const Arguments arguments);                                      \
    static void name##_call(const void* from) { name##_body(*(const Arguments*)from); }      \
    extern "C" {                                                                             \
    extern const host::Entry name;                                                           \
    const host::Entry name = {name##_call, sizeof(Arguments), threads};                      \
    }                                                                                        \
    static void name##_body(const Arguments arguments)

using host::word;
using std::min;

inline float __uint_as_float(word bits) { return host::float_of(bits); }
inline word __float_as_uint(float value) { return host::bits_of(value); }

inline float f16_to_float(unsigned short bits) { return host::float_of_half(bits); }
inline unsigned short float_to_f16(float value) { return host::half_of(value); }
inline word float_to_tf32(float value) {
    const word bits = __float_as_uint(value);
    return std::isfinite(value) ? (bits + 0x1000) & 0xffffe000u : bits;
}

inline void mma_tf32(float (&sum)[4], const word (&a)[4], const word (&b)[2]) { host::mma(host::TF32, sum, a, b); }
inline void mma_bf16(float (&sum)[4], const word (&a)[4], const word (&b)[2]) { host::mma(host::BF16, sum, a, b); }
inline void mma_f16(float (&sum)[4], const word (&a)[4], const word (&b)[2]) { host::mma(host::F16, sum, a, b); }
