// Pools of active sites: rows (sites, channels) and a kernel map. One thread an output value, channels
// along the lanes, so that a warp reads whole rows of x and one number of the kernel map.
//
// Memory traffic: taps rows in, one row (and its winners) out, a site; plus 4 bytes of map a tap and site.
#pragma once
#include <numbers.cuh>

struct SitePoolArguments {
    const void* x;           // rows that are read: x forward, the gradient backward
    const int* rows;         // (sites, taps): the kernel map forward, its inverse backward
    void* out;               // (sites, channels)
    unsigned char* winners;  // of the output forward (null if not wanted), of the gradient backward
    long long sites;         // rows that are written
    int inputs;              // rows of x; a map entry of this or more means "no such site"
    int taps, channels;
    int divisor;
};

struct SitePlace {
    long long at, site;
    int channel;
    bool inside;
};

DEVICE SitePlace site_place_of_thread(const SitePoolArguments& p) {
    SitePlace place;
    place.at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    place.inside = place.at < p.sites * p.channels;
    place.site = divide(place.at, p.channels);
    place.channel = (int)(place.at - place.site * p.channels);
    return place;
}

template <class Element>
DEVICE void site_max_pool(const SitePoolArguments& p) {
    const SitePlace place = site_place_of_thread(p);
    if (!place.inside) return;
    const int* rows = p.rows + place.site * p.taps;
    typename SumOf<Element>::type best = 0;
    int winner = 0;
    for (int tap = 0; tap < p.taps; ++tap) {
        const auto value = widen(((const Element*)p.x)[(long long)rows[tap] * p.channels + place.channel]);
        if (tap == 0 || value > best || value != value) {
            best = value;
            winner = tap;
        }
    }
    narrow(best, ((Element*)p.out)[place.at]);
    if (p.winners) p.winners[place.at] = (unsigned char)winner;
}

template <class Element>
DEVICE void site_max_pool_backward(const SitePoolArguments& p) {
    const SitePlace place = site_place_of_thread(p);
    if (!place.inside) return;
    const int* rows = p.rows + place.site * p.taps;
    typename SumOf<Element>::type sum = 0;
    for (int tap = 0; tap < p.taps; ++tap) {
        if (rows[tap] >= p.inputs) continue;
        const long long at = (long long)rows[tap] * p.channels + place.channel;
        if (p.winners[at] == tap) sum += widen(((const Element*)p.x)[at]);
    }
    narrow(sum, ((Element*)p.out)[place.at]);
}

// Forward with the kernel map and backward with its inverse: a sum of the rows that a site's taps name.
template <class Element>
DEVICE void site_avg_pool(const SitePoolArguments& p) {
    const SitePlace place = site_place_of_thread(p);
    if (!place.inside) return;
    typedef typename SumOf<Element>::type Value;
    const int* rows = p.rows + place.site * p.taps;
    Value sum = 0;
    for (int tap = 0; tap < p.taps; ++tap)
        if (rows[tap] < p.inputs)
            sum += widen(((const Element*)p.x)[(long long)rows[tap] * p.channels + place.channel]);
    narrow(sum / (Value)p.divisor, ((Element*)p.out)[place.at]);
}
