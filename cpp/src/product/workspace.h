// The workspace: the memory that a thread uses during a product. Only this file sizes and addresses its regions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/checked.h"

namespace pointwise {

// Regions, in their order in memory.
enum class Region {
  packed,    // packed src
  results,   // results that are converted
  residual,  // the residual of such results, as numbers of the dtype of the sums
  sums,      // sums between the kernel calls of a split sum
  copy,      // the copied src of a tile
  room,      // Block::room
  panels,    // panels of borrowed weights
  offsets,   // offsets of the pixels of a block in src, dst, residual and input_scale
};
constexpr int regions = static_cast<int>(Region::offsets) + 1;

class Workspace {
 public:
  // Grows a region to at least `bytes` bytes. Throws std::bad_alloc if the workspace exceeds int64.
  void reserve(Region region, int64_t bytes) {
    const int index = static_cast<int>(region);
    const int64_t more = round_up(bytes, line) - size(region);
    if (more <= 0) return;
    for (int i = index + 1; i <= regions; ++i) begin_[i] = allocation_sum(begin_[i], more);
  }

  int64_t bytes() const { return begin_[regions]; }
  int64_t size(Region region) const { return begin_[static_cast<int>(region) + 1] - begin_[static_cast<int>(region)]; }
  // Returns the start of a region. `memory` has bytes() bytes and is 64-byte aligned.
  char* at(char* memory, Region region) const { return memory + begin_[static_cast<int>(region)]; }

 private:
  static constexpr int64_t line = 64;
  std::array<int64_t, regions + 1> begin_{};  // offsets of the regions in bytes, and the size of all regions
};

}  // namespace pointwise
