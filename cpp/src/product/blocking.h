// Chooses the blocking of a box: its kernel row, packing, pieces and blocks. The choice is arithmetic only.
//
// clang-format off
//     for piece in images x groups x n_parts x m_parts:      one thread computes a piece
//       for n_block pixels of the piece:                     packs src, unless the kernel reads it in place
//         for m_block output channels of the piece:          packs weights, if they are borrowed
//           for k_block input channels:                      usually all input channels
//             kernel(n_block x m_block x k_block)            loops over tiles
// clang-format on
//
// The tiles of a kernel call read one operand many times: channel rows read the weights, pixel rows read src. Blocks
// are so small that this operand fits L2.
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

// The inputs of the choice. If a kernel row for diagonal products computes the box, m counts its groups, and groups
// is 1.
struct Work {
  Types types;
  int x_item, item;  // bytes of a number of src, and of a number of weights, sums or dst
  int64_t groups, m, k;
  int axes;
  std::array<Axis, max_axes> axis;  // as in Box
  ptrdiff_t src_k, dst_m, residual_m;
  bool residual;
  bool scaled;    // packing multiplies input channels by input_scale
  bool borrowed;  // weights are packed during the call
  int threads;
  int64_t l1, l2;  // bytes of a core's caches
  const Machine* machine;
};

enum class Packing {
  none,      // the kernel reads src in place
  channels,  // as [input channel][pixel]
  pixels,    // as [pixel][input channel]
};

// A range of `total` numbers, divided into `count` parts of whole units. The parts are as equal as possible, so that no
// thread gets a short last part. Only the last unit may be incomplete.
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

// Divides `total` numbers into the fewest parts of at most `most` numbers. `most` is a multiple of `unit`, or at least
// `total`.
inline Parts fewest_parts(int64_t total, int64_t unit, int64_t most) {
  return {total, unit, total <= most ? 1 : ceil_div(ceil_div(total, unit), most / unit)};
}

struct Blocking {
  int kernel_row;  // index in the registry
  int n_axes;      // number of innermost axes that count as pixels; the others count as images
  bool even;       // pixels are evenly spaced in dst and residual
  Packing packing;
  int64_t images, n;         // numbers of images and of pixels per image
  Parts n_parts, m_parts;    // a piece is one part of the pixels and one part of the output channels
  int64_t n_block, m_block;  // maximum numbers of pixels and of output channels in a kernel call
  int64_t k_block;           // maximum number of input channels in a kernel call
  int64_t pieces;
  ptrdiff_t packed_step;  // bytes from one channel (or pixel) of packed src to the next
  ptrdiff_t sums_row;     // bytes from one row of sums to the next, if sums are split
  int64_t packed;         // bytes of packed src per thread
  int64_t sums;           // bytes of sums per thread
  int64_t copy;           // bytes for the copied src of a tile, per thread; 0 if tiles do not copy it
  int64_t room;           // bytes of Block::room per thread
  int64_t weights;        // bytes of borrowed weights that a thread packs at a time
  double indirect;        // additional cycles for each vector of results that is not stored directly
  double pack;            // cycles to pack src of one image and group; each part of the output channels packs it again
  double cycles;          // predicted on one thread
  double makespan;        // predicted until the last of all threads is done
};

struct Candidate {
  Blocking blocking;
  const char* refused;  // reason why the blocking cannot run; null if it can run
};

// Returns all combinations of kernel row, n_axes and packing.
std::vector<Candidate> candidates(const Work& work, const KernelRows& rows);
// Returns the candidate with the shortest predicted time.
Blocking choose_blocking(const Work& work, const KernelRows& rows);

// Returns a distance between rows: at least `bytes`, a multiple of 64 but not of 1024. Rows that are a multiple of 1024
// bytes apart would compete for few sets of L1.
ptrdiff_t padded_row(int64_t bytes);

// Returns the number of threads that are useful for this many cycles and pieces, at most `threads`.
int team_size(const Machine& machine, double cycles, int64_t pieces, int threads);
}  // namespace pointwise
