// Pixel rows for a last vector of channels that is at most half full: what they refuse, and what they cost.
//
// Half a vector alone or beside whole ones (halves.h), or one vector that two pixels share (pairs.h). The vectors
// before it are computed in whole tiles. Compiled without flags of an instruction set: the planner calls these
// functions.
#pragma once

#include "kernels/kernel.h"

namespace pointwise {

// Returns how many of `vectors` whole vectors share a tile with the half behind them.
constexpr int64_t vectors_beside_half(int64_t vectors) { return vectors == 0 ? 0 : vectors % 2 == 0 ? 2 : 1; }
// Returns the pixels of such a tile: there are 24 accumulators.
constexpr int half_tile_height(int64_t vectors_beside) { return static_cast<int>(24 / (vectors_beside + 1)); }

constexpr int half_row_lanes = 16;   // of both kinds of rows
constexpr int pair_row_pixels = 16;  // of a tile

const char* halves_refuse(const Problem& problem);
const char* pairs_refuse(const Problem& problem);
double halves_cycles(const Problem& problem);
double pairs_cycles(const Problem& problem);

}  // namespace pointwise
