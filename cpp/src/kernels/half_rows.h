// Functions for the planner. They return the reason why halves or pairs cannot compute a product, and predict the
// cycles of halves and pairs.
//
// Halves and pairs are two kinds of kernel rows, for products whose last vector of output channels is at most half
// full. A tile of halves (halves.h) has a half vector and at most two whole vectors. In a tile of pairs (pairs.h), two
// pixels share a whole vector. Both kinds of kernel rows compute all earlier whole vectors in ordinary tiles.
//
// The planner runs on every CPU, so these functions are compiled without the flags of an instruction set.
#pragma once

#include "kernels/kernel.h"

namespace pointwise {

// Returns the number of whole vectors in the tiles with the half vector. `vectors` is the number of all whole vectors.
constexpr int64_t vectors_beside_half(int64_t vectors) { return vectors == 0 ? 0 : vectors % 2 == 0 ? 2 : 1; }
// Returns the maximum number of pixels in a tile that has a half vector and `vectors_beside` whole vectors. The limit
// is 24 accumulators.
constexpr int half_tile_height(int64_t vectors_beside) { return static_cast<int>(24 / (vectors_beside + 1)); }

constexpr int half_row_lanes = 16;   // lanes of a whole vector, in halves and in pairs
constexpr int pair_row_pixels = 16;  // pixels of a tile of pairs

// Return the reason why the kernel row cannot compute a product, or null if it can.
const char* halves_refuse(const Problem& problem);
const char* pairs_refuse(const Problem& problem);
// Return the predicted cycles of a product.
double halves_cycles(const Problem& problem);
double pairs_cycles(const Problem& problem);

}  // namespace pointwise
