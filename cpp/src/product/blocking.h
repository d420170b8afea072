// Chooses the blocking of a box: its kernel row, packing, pieces and blocks. The choice follows from calculations,
// without any measurement.
//
// clang-format off
//     for piece in images x groups x n_parts x m_parts:      one thread computes a piece
//       for n_block pixels of the piece:                     packs src, unless the kernel reads it in place
//         for m_block output channels of the piece:          packs weights, if they are borrowed
//           for k_block input channels:                      usually all input channels; converts int8 weights
//             kernel(n_block x m_block x k_block)            loops over tiles
// clang-format on
//
// The tiles of a kernel call read one operand many times. For channel rows this operand is the weights, for pixel rows
// it is src. Blocks are so small that this operand fits L2.
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

// The inputs of the choice.
struct Work {
  Types types;
  // Bytes of a number of src, of a step of contiguous channels of src, and of a number of sums and results.
  int x_item, x_step, item;
  int64_t groups, m, k;  // k counts steps, which are input channels or pairs of input channels
  bool pairs;            // true if steps are pairs of input channels
  bool whole_pairs;      // true if no pair lacks a channel
  int axes;
  std::array<Axis, max_axes> axis;     // the axes of the box, as in Box
  ptrdiff_t src_k, dst_m, residual_m;  // src_k is the distance of steps
  // True if results are converted while they are stored to dst. Then strides of dst and of the residual are scaled, as
  // if their numbers had `item` bytes.
  bool converts;
  bool residual;
  bool slopes;    // PReLU is applied to stored results
  bool scaled;    // packing multiplies input channels by input_scale
  bool borrowed;  // weights are packed during the call
  // Weights are int8. A call converts them to float32 and multiplies the sums by scales.
  bool quantized;
  int threads;
  int64_t l1, l2;  // bytes of the L1 and L2 caches of a core
  const Machine* machine;
};

enum class Packing {
  none,      // the kernel reads src in place
  channels,  // packs src as [input channel][pixel]
  pixels,    // packs src as [pixel][input channel]
};

// A range of `total` numbers, divided into `count` parts. Each part is a whole number of units, but the last unit may
// be incomplete. The parts are as equal as possible, so that no thread gets a short last part.
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

// Divides `total` numbers into the fewest parts of at most `most` numbers each. `most` must be a multiple of `unit`, or
// not less than `total`.
inline Parts fewest_parts(int64_t total, int64_t unit, int64_t most) {
  return {total, unit, total <= most ? 1 : ceil_div(ceil_div(total, unit), most / unit)};
}

struct Blocking {
  int kernel_row;  // index in the registry
  int n_axes;      // number of innermost axes that count as pixels; the others count as images
  bool even;       // pixels are evenly spaced in dst and residual
  Packing packing;
  // True if src is packed in ranges of contiguous numbers. Packing::pixels packs all pixels of a block as one range.
  // Packing::channels packs one range for each channel.
  bool dense;
  int64_t images, n;         // number of images, number of pixels per image
  Parts n_parts, m_parts;    // a piece is one part of the pixels and one part of the output channels
  int64_t n_block, m_block;  // maximum numbers of pixels and of output channels in a kernel call
  int64_t k_block;           // maximum number of input channels in a kernel call
  int64_t pieces;
  ptrdiff_t packed_step;  // bytes from a channel (or pixel) of packed src to the next one
  ptrdiff_t sums_row;     // bytes from a row of sums to the next row, if sums are split
  int64_t packed;         // bytes of packed src per thread
  int64_t sums;           // bytes of sums per thread
  int64_t results;        // bytes per thread for results that are converted; 0 if results are stored to dst
  int64_t residual;       // bytes per thread for the residual of such results; 0 if there is none
  ptrdiff_t results_row;  // bytes from a row of such results to the next row
  bool results_by_pixel;  // true if a row of such results has the channels of a pixel, else the pixels of a channel
  bool results_dense;     // true if the results of a block are contiguous in dst, pixel by pixel
  int64_t copy;           // bytes per thread for the copied pixels of a tile; 0 if tiles do not copy pixels
  int64_t room;           // bytes of Block::room per thread
  // Bytes of borrowed weights that a thread packs at a time, or of int8 weights that it converts at a time. 0 if there
  // are none, or if the weights are read as int8.
  int64_t weights;
  double indirect;  // additional cycles for each vector of results that is not stored directly
  double pack;      // cycles to pack src of one image and group once
  double convert;   // cycles to convert the int8 weights of a group once
  double cycles;    // predicted cycles on one thread
  double makespan;  // predicted cycles until the last thread is done
};

struct Candidate {
  Blocking blocking;
  const char* refused;  // reason why the blocking cannot run; null if it can run
};

// Returns all combinations of kernel row, n_axes and packing.
std::vector<Candidate> candidates(const Work& work, const KernelRows& rows);
// Returns the candidate with the shortest predicted time.
Blocking choose_blocking(const Work& work, const KernelRows& rows);

// Returns a distance in bytes for rows of `bytes` bytes. The distance is a multiple of 64, but not of 1024. Rows that
// are a multiple of 1024 bytes apart would compete for few sets of L1.
ptrdiff_t padded_row(int64_t bytes);

// Returns how many of `threads` threads are useful for a number of cycles and pieces.
int team_size(const Machine& machine, double cycles, int64_t pieces, int threads);
}  // namespace pointwise
