// Lays a convolution's weights out as the products read them, in words, padded with zeros to whole tiles:
//
//     packed[group][tile of rows][tap walked][word][row of the tile]
//
// A word holds one or two neighbouring elements of a row; an element is an input channel, or a (tap,
// channel) pair where taps are flattened. Weights are small, so this costs one short launch; in return the
// products copy whole lines of 16 bytes and check no bounds. The strides make the forward pass, the input
// gradient of sites (rows and channels exchanged) and of maps (taps turned round as well) one kernel.
#pragma once
#include <tile.cuh>

struct PackArguments {
    const void* weight;
    word* packed;
    long long total;            // words of packed
    long long group_stride, row_stride, channel_stride;  // in values of weight; taps are neighbours
    int rows, row_tiles;        // rows of a group, and tiles of them
    int tile;                   // rows of a tile
    int walked;                 // taps that have words of their own
    int words;                  // of one walked tap
    int elements, channels;     // elements of one walked tap; element e is tap e / channels, channel e % channels
    int taps;
    int turned;                 // 1: last tap first
};

template <class Element>
DEVICE Element weight_element(const PackArguments& p, int group, int row, int walked, int element) {
    if (row >= p.rows || element >= p.elements) return Element{};
    const int flat = element / p.channels, tap = p.turned ? p.taps - 1 - walked - flat : walked + flat;
    return ((const Element*)p.weight)[group * p.group_stride + row * p.row_stride +
                                      (element - flat * p.channels) * p.channel_stride + tap];
}

template <class Element, class Math>
DEVICE void pack(const PackArguments& p) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= p.total) return;
    long long rest = divide(at, p.tile);
    const int row = (int)(at - rest * p.tile);
    const int index = (int)(rest % p.words);
    rest /= p.words;
    const int walked = (int)(rest % p.walked);
    rest /= p.walked;
    const int tile = (int)(rest % p.row_tiles), group = (int)(rest / p.row_tiles);
    const int first = index * Math::PER_WORD, last = first + Math::PER_WORD - 1;
    p.packed[at] = Math::pack(weight_element<Element>(p, group, tile * p.tile + row, walked, first),
                              weight_element<Element>(p, group, tile * p.tile + row, walked, last));
}
