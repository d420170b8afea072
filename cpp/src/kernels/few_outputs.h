// Functions for the planner. They return the reason why quads, long rows, interleaved products or products in planes
// cannot compute a product, and they predict the cycles of these kernel rows and of diagonal products.
//
// The planner runs on every CPU, so these functions are compiled without the flags of an instruction set.
#pragma once

#include "kernels/kernel.h"

namespace pointwise {

constexpr int most_quad_rows = 8;  // maximum number of output channels of a tile of quads

constexpr int long_pass_inputs = 12;   // maximum number of input channels of a pass of long rows
constexpr int long_rows_outputs = 16;  // maximum number of output channels of long rows

// Returns the maximum number of input channels, and of output channels, of interleaved products.
constexpr int most_interleaved(int lanes) { return lanes / 2; }
constexpr int most_interleaved_integers(int lanes) { return lanes < 8 ? lanes / 2 : 4; }

constexpr int most_planes = 4;  // maximum number of input channels, and of output channels, of products in planes

// Return the reason why the kernel row cannot compute a product, or null if it can.
const char* quads_refuse(const Problem& problem);
const char* byte_quads_refuse(const Problem& problem);
const char* long_rows_refuse(const Problem& problem);
const char* interleaved_refuse(const Problem& problem);
const char* interleaved_integers_refuse(const Problem& problem);
const char* planes_refuse(const Problem& problem);
// Return the predicted cycles of a product.
double quads_cycles(const Problem& problem);
double byte_quads_cycles(const Problem& problem);
double long_rows_cycles(const Problem& problem);
double interleaved_cycles(const Problem& problem);
double interleaved_integers_cycles(const Problem& problem);
double planes_cycles(const Problem& problem);
double byte_planes_cycles(const Problem& problem);
double diagonal_cycles(const Problem& problem);

// Returns the number of bytes for the sums of a strip.
int64_t long_rows_room(const Problem& problem, int64_t l2);

}  // namespace pointwise
