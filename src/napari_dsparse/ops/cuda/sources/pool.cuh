// Pools of whole maps with taps `dilation` apart. One thread an output value, lanes along memory.
//
// A map is planes of rows of values. In plain order a plane is one channel of one image. In channels-last
// order it is one image, a row holds width * channels values, and taps lie dilation * channels apart: the
// same kernels serve both, told so by their arguments.
//
// Memory traffic: each value comes from DRAM once (its other taps hit the caches), a result and its winner
// are written once: forward 2 sizeof(Element) + 1 bytes per value, backward the same.
#pragma once
#include <numbers.cuh>

struct PoolArguments {
    const void* x;                 // the map that is read: x forward, the gradient backward
    void* out;                     // the map that is written
    unsigned char* winners;        // of the smaller map; null if not wanted
    long long planes;
    int height, width;             // rows of a plane, values of a row, of the larger map
    int out_height, out_width;     // of the smaller map
    int taps_y, taps_x;
    int dilation_y, dilation_x;    // in rows, in values
    int divisor;
    int blocks_per_plane;
};

struct Place {
    long long plane, at;  // value of the plane: a channels-last one may hold more than 2^31
    int y, x;             // row, value of the row
    bool inside;
};

// The value of a map with planes of height x width that this thread works on.
DEVICE Place place_of_thread(int blocks_per_plane, int height, int width) {
    Place place;
    place.plane = blockIdx.x / blocks_per_plane;
    place.at = (long long)(blockIdx.x % blocks_per_plane) * blockDim.x + threadIdx.x;
    place.inside = place.at < (long long)height * width;
    place.y = (int)divide(place.at, width);
    place.x = (int)(place.at - (long long)place.y * width);
    return place;
}

template <class Element>
DEVICE void max_pool(const PoolArguments& p) {
    const Place place = place_of_thread(p.blocks_per_plane, p.out_height, p.out_width);
    if (!place.inside) return;
    typedef typename SumOf<Element>::type Value;
    const Element* x = (const Element*)p.x + place.plane * p.height * p.width;
    Value best = 0;
    int winner = 0, tap = 0;
    for (int ty = 0; ty < p.taps_y; ++ty) {
        const Element* row = x + (long long)(place.y + ty * p.dilation_y) * p.width + place.x;
        for (int tx = 0; tx < p.taps_x; ++tx, ++tap) {
            const Value value = widen(row[tx * p.dilation_x]);
            // As ATen settles it: the first of equal taps wins, a NaN always does.
            if (tap == 0 || value > best || value != value) {
                best = value;
                winner = tap;
            }
        }
    }
    const long long at = place.plane * p.out_height * p.out_width + place.at;
    narrow(best, ((Element*)p.out)[at]);
    if (p.winners) p.winners[at] = (unsigned char)winner;
}

// Every value asks the k^2 windows that read it whether it won there: a gather in fixed order, no atomics,
// and the window's gradient is read only where it did.
template <class Element>
DEVICE void max_pool_backward(const PoolArguments& p) {
    const Place place = place_of_thread(p.blocks_per_plane, p.height, p.width);
    if (!place.inside) return;
    const long long first = place.plane * p.out_height * p.out_width;
    const Element* grad = (const Element*)p.x + first;
    const unsigned char* winners = p.winners + first;
    typename SumOf<Element>::type sum = 0;
    int tap = 0;
    for (int ty = 0; ty < p.taps_y; ++ty) {
        const int y = place.y - ty * p.dilation_y;
        for (int tx = 0; tx < p.taps_x; ++tx, ++tap) {
            const int x = place.x - tx * p.dilation_x;
            if (y < 0 || y >= p.out_height || x < 0 || x >= p.out_width) continue;
            const long long at = (long long)y * p.out_width + x;
            if (winners[at] == tap) sum += widen(grad[at]);
        }
    }
    narrow(sum, ((Element*)p.out)[place.plane * p.height * p.width + place.at]);
}

template <class Element>
DEVICE void avg_pool(const PoolArguments& p) {
    const Place place = place_of_thread(p.blocks_per_plane, p.out_height, p.out_width);
    if (!place.inside) return;
    typedef typename SumOf<Element>::type Value;
    const Element* x = (const Element*)p.x + place.plane * p.height * p.width;
    Value sum = 0;
    for (int ty = 0; ty < p.taps_y; ++ty) {
        const Element* row = x + (long long)(place.y + ty * p.dilation_y) * p.width + place.x;
        for (int tx = 0; tx < p.taps_x; ++tx) sum += widen(row[tx * p.dilation_x]);
    }
    narrow(sum / (Value)p.divisor, ((Element*)p.out)[place.plane * p.out_height * p.out_width + place.at]);
}

template <class Element>
DEVICE void avg_pool_backward(const PoolArguments& p) {
    const Place place = place_of_thread(p.blocks_per_plane, p.height, p.width);
    if (!place.inside) return;
    typedef typename SumOf<Element>::type Value;
    const Element* grad = (const Element*)p.x + place.plane * p.out_height * p.out_width;
    Value sum = 0;
    for (int ty = 0; ty < p.taps_y; ++ty) {
        const int y = place.y - ty * p.dilation_y;
        for (int tx = 0; tx < p.taps_x; ++tx) {
            const int x = place.x - tx * p.dilation_x;
            if (y < 0 || y >= p.out_height || x < 0 || x >= p.out_width) continue;
            sum += widen(grad[(long long)y * p.out_width + x]);
        }
    }
    narrow(sum / (Value)p.divisor, ((Element*)p.out)[place.plane * p.height * p.width + place.at]);
}
