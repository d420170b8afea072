// Predicts the cycles of kernels on one thread, by the constants of the machine (machine/machine.h).
#pragma once

#include "product/blocking.h"

namespace pointwise {

// The tiles of so many pixels and channels; `indirect`: cycles for one vector that does not go straight to dst.
double compute_cycles(const Work& work, const KernelRow& row, int64_t n, int64_t m, double indirect);

// Rows whose addresses differ by a large power of two share the sets of L1: by so much kernels take longer.
double thrash_factor(const Machine& machine, const KernelRow& row, ptrdiff_t x_pixel, int64_t n);

// How much longer pixel rows take where their pixels lie side by side and their channels apart, in src or packed so.
double scattered_factor(const Work& work, const KernelRow& row, bool packed);

// Whether a call with so many input channels copies the pixels of its tiles.
bool copies_pixels(const Work& work, const KernelRow& row, int64_t k);

}  // namespace pointwise
