// A grid of blocks on the CPU: fibres.cpp runs a block's threads as fibres (fast, deterministic, finds barriers
// that not all threads reach).
#pragma once
#include <cstddef>
#include <cstring>

namespace host {

typedef unsigned int word;

struct Index {
    unsigned x;
};

struct Thread {
    unsigned thread, block, threads;
    word* shared;
};

// A kernel: how to call it, and what a launch must agree with.
struct Entry {
    void (*call)(const void* arguments);
    size_t arguments;
    unsigned threads;
};

enum Kind { TF32, BF16, F16 };

Thread& self();
void barrier();
// All 32 lanes of a warp come together here.
void mma(Kind kind, float* sum, const word* a, const word* b);

// Runs blocks first .. last - 1; shared memory is filled with NaN before each. Null, or what went wrong.
const char* run(const Entry& kernel, const void* arguments, unsigned first, unsigned last, size_t shared_bytes);

inline float float_of(word bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline word bits_of(float value) {
    word bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

float float_of_half(unsigned short bits);
unsigned short half_of(float value);

// What one lane brings to a matrix product; the product adds to four sums of every lane. By the tables of the
// PTX manual (mma.m16n8k8 for tf32, mma.m16n8k16 for 16-bit types), written independently of tile.cuh.
struct Fragment {
    word a[4], b[2];
};
void mma_of_warp(Kind kind, const Fragment* const* warp, float* const* sums);

}  // namespace host
