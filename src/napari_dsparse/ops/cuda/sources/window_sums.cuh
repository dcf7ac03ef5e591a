// Sums over windows of many taps along one axis, by doubling: a window of m taps joined with itself, m taps
// further on, is one of 2 m; joined with one more tap, of 2 m + 1. A launch doubles windows up to three times.
// One thread an output value, lanes along memory; every window adds its taps in the order of the plain
// PyTorch form. Nothing is subtracted, so that no window feels a pixel outside it.
//
// A map is lines of places, and `inner` values at each place: rows of a plane for sums along columns of it,
// pixels of a row for sums along rows. A window is known by the place of its first tap. Beyond the ends of a
// line there are zeros.
//
// Memory traffic: taps come from DRAM once (for windows of one tap they are the sums read), sums once, results
// once. Through the load units go 2^d sums, and up to 2^d - 1 taps, for d doublings.
#pragma once
#include <numbers.cuh>

struct WindowSumsArguments {
    const void* x;                          // the map whose values are taps
    const void* sums;                       // of the windows so far; x itself where those have one tap
    void* out;                              // sums of the doubled windows
    long long total;                        // values of out
    int inner;
    int length, sums_length, out_length;    // places of a line
    int sums_first, out_first;              // place of the first window's first tap: 0, or before the line
    int doublings;
    int reach[3];                           // places from a window to the one it is joined with, each time
    int odd;                                // bit d: one more tap after doubling d
    int divisor;
};

// The value at a place of a line, in the type of sums; 0 beyond its ends.
template <class Element>
DEVICE typename SumOf<Element>::type value_at(const Element* line, int place, int length, int inner) {
    return (word)place < (word)length ? widen(line[(long long)place * inner]) : 0;
}

// The sum of the window that begins at a place, after so many doublings.
template <int DOUBLINGS, class Tap, class Sum>
DEVICE typename SumOf<Tap>::type window_at(const WindowSumsArguments& p, const Tap* x, const Sum* sums, int place) {
    if constexpr (DOUBLINGS == 0) {
        return value_at(sums, place - p.sums_first, p.sums_length, p.inner);
    } else {
        const int reach = p.reach[DOUBLINGS - 1];
        const auto total = window_at<DOUBLINGS - 1>(p, x, sums, place) + window_at<DOUBLINGS - 1>(p, x, sums, place + reach);
        if (p.odd >> (DOUBLINGS - 1) & 1) return total + value_at(x, place + 2 * reach, p.length, p.inner);
        return total;
    }
}

template <class Tap, class Sum, class Out>
DEVICE void window_sums(const WindowSumsArguments& p) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= p.total) return;
    typedef typename SumOf<Tap>::type Value;
    const long long number = divide(at, p.inner), line = divide(number, p.out_length);
    const int place = (int)(number - line * p.out_length) + p.out_first;
    const long long column = at - number * p.inner;
    const Tap* x = (const Tap*)p.x + line * p.length * p.inner + column;
    const Sum* sums = (const Sum*)p.sums + line * p.sums_length * p.inner + column;
    Value total;
    if (p.doublings == 1)
        total = window_at<1>(p, x, sums, place);
    else if (p.doublings == 2)
        total = window_at<2>(p, x, sums, place);
    else
        total = window_at<3>(p, x, sums, place);
    narrow(total / (Value)p.divisor, ((Out*)p.out)[at]);
}
