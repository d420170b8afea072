// Which kernel row computes a box, and in what pieces: arithmetic on integers, no pointers, no arrays.
//
//     for piece in images x groups x pixel blocks x channel blocks:        handed out to threads
//       for chunk of pixels in the piece's pixel block:                    fits L2; packed here if need be
//         for chunk of channels in the piece's channel block:              its weights fit L2
//           for chunk of input channels:                                   all, unless there are very many
//             kernel(chunk of pixels x chunk of channels)                  loops over register tiles
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/checked.h"
#include "kernels/kernel.h"
#include "machine/machine.h"
#include "product/product.h"

namespace pointwise {

// What the choice depends on.
struct Work {
  Types types;
  int x_item, item;  // bytes of a number of src; and of weights, sums and dst
  int64_t groups, m, k;
  int axes;
  std::array<Axis, max_axes> axis;  // as in Box
  ptrdiff_t src_k, dst_m, residual_m;
  bool residual;
  bool scaled;    // input channels are multiplied by a scale when they are packed
  bool borrowed;  // weights are packed when they are used
  int threads;
  int64_t l1, l2;  // bytes of a core's caches
  const Machine* machine;
};

enum class Packing {
  none,      // the kernel reads src in place
  channels,  // a panel [input channel][pixel]: lanes of pixels side by side
  pixels,    // rows [pixel][input channel]
};

// `total` in `count` parts of whole units, as even as can be: a thread that gets the last part should not find it
// short.
struct Parts {
  int64_t total, unit, count;

  int64_t units() const { return ceil_div(total, unit); }
  int64_t begin(int64_t part) const {
    if (part == 0) return 0;
    if (part == count) return total;
    return static_cast<int64_t>(static_cast<__int128>(part) * units() / count) * unit;
  }
  int64_t largest() const { return count == 1 ? total : ceil_div(units(), count) * unit; }
};

// The fewest parts of at most `most`, which is a number of whole units or no less than the total.
inline Parts fewest_parts(int64_t total, int64_t unit, int64_t most) {
  return {total, unit, total <= most ? 1 : ceil_div(ceil_div(total, unit), most / unit)};
}

struct Blocking {
  int kernel_row;  // index in the registry
  int n_axes;      // the innermost axes that are a block's pixels; the others are images
  bool even;       // pixels of dst and residual step evenly
  Packing packing;
  int64_t images, n;         // products of the sizes of the axes
  Parts n_parts, m_parts;    // those of a piece are one part of each
  int64_t n_block, m_block;  // of a kernel call, at most
  int64_t k_block;           // input channels of a kernel call
  int64_t pieces;
  ptrdiff_t packed_step;  // bytes from a channel (or pixel) of packed src to the next
  ptrdiff_t sums_row;     // bytes from a row of sums to the next, where the input channels are split
  int64_t packed;         // bytes of packed src a thread
  int64_t sums;           // bytes of sums a thread
  int64_t copy;           // bytes that a thread copies a tile's src to; 0 where tiles read src in place
  int64_t weights;        // bytes of borrowed weights that a thread packs at a time
  double indirect;        // cycles for a vector of results that does not go straight to dst
  double pack;            // cycles of packing src, of an image and group; every piece of other channels packs again
  double cycles;          // what the cost model expects on one thread
  double makespan;        // and until the last of several is done
};

struct Candidate {
  Blocking blocking;
  const char* refused;  // why it cannot run; null where it can
};

// Every row in every way it can run. The cheapest of those that can is the choice.
std::vector<Candidate> candidates(const Work& work, const KernelRows& rows);
Blocking choose_blocking(const Work& work, const KernelRows& rows);

// A power of two between rows would map them all to the same sets of L1.
ptrdiff_t padded_row(int64_t bytes);

// The number of threads that pay for this many cycles of work, at most `threads`.
int team_size(const Machine& machine, double cycles, int64_t pieces, int threads);
}  // namespace pointwise
