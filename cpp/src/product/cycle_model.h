// The cost model of kernels. Predicts the cycles of a kernel on one thread from the constants of the machine
// (machine/machine.h).
#pragma once

#include "product/blocking.h"

namespace pointwise {

// Returns the cycles of all tiles for n pixels and m output channels. Adds `indirect` cycles for each vector of
// results.
double compute_cycles(const Work& work, const KernelRow& row, int64_t n, int64_t m, double indirect);

// Returns the cycles on one thread if src, weights and dst are in memory. `cycles` is the prediction for operands in
// the caches, and `n` is the number of pixels of each image.
double memory_cycles(const Work& work, const KernelRow& row, int64_t images, int64_t n, double cycles);

// Returns the slowdown factor for n pixels that are x_pixel bytes apart. Pixels that are a large power of two bytes
// apart share sets of L1.
double thrash_factor(const Machine& machine, const KernelRow& row, ptrdiff_t x_pixel, int64_t n);

// Returns the slowdown factor of pixel rows for src that is channels first or packed by channels.
double scattered_factor(const Work& work, const KernelRow& row, bool packed);

// Returns the slowdown factor of tiles that read src in place, if its pixels are contiguous. Input channels that are a
// multiple of 4 KiB apart share sets of L1 and L2.
double in_place_factor(const Work& work, const KernelRow& row);

// Returns true if a kernel call with k input channels copies the pixels of its tiles.
bool copies_pixels(const Work& work, const KernelRow& row, int64_t k);

}  // namespace pointwise
