// The words in which a GPU differs from the host that the tests compile these sources for: the tests put
// their own port.cuh first on the include path. Nothing else in this folder knows where it runs.
#pragma once

typedef unsigned int word;  // 32 bits of a tile: one fp32 or tf32 value, or two 16-bit values

#define DEVICE __device__ __forceinline__

// A kernel takes one structure, so that a launch is one pointer, on a GPU and in the tests.
#define KERNEL(name, Arguments, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const Arguments arguments)

#define SHARED_WORDS(name) extern __shared__ __align__(16) word name[]

DEVICE float f16_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

DEVICE unsigned short float_to_f16(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// Rounds to the 10 fraction bits that tensor cores read; they would otherwise cut the rest off.
DEVICE word float_to_tf32(float value) {
    word bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
}

// sum (16 x 8, fp32) += a (16 x 8 words) times b (8 words x 8), by one warp. With g = lane / 4 and
// q = lane % 4, a lane holds
//   a: [row g, word q], [g + 8, q], [g, q + 4], [g + 8, q + 4]     b: [word q, column g], [q + 4, g]
//   sum: [g, 2q], [g, 2q + 1], [g + 8, 2q], [g + 8, 2q + 1]
// in words the same for all three kinds of numbers, which is why one tile code serves them all.
#define MMA_SYNC(name, kind)                                                                              \
    DEVICE void name(float (&sum)[4], const word (&a)[4], const word (&b)[2]) {                           \
        asm volatile("mma.sync.aligned." kind                                                            \
                     " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                   \
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                            \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                 \
    }
MMA_SYNC(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
MMA_SYNC(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
MMA_SYNC(mma_f16, "m16n8k16.row.col.f32.f16.f16.f32")
#undef MMA_SYNC
