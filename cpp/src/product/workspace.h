// The memory that a thread works in during a product: its regions are sized and addressed here, and only here.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/checked.h"

namespace pointwise {

// Regions in the order in which they lie in memory.
enum class Region {
  packed,   // src, packed
  sums,     // of the input channels so far
  copy,     // the src of a tile
  panels,   // of borrowed weights
  offsets,  // of a chunk's pixels in src, dst, residual and scales
};
constexpr int regions = static_cast<int>(Region::offsets) + 1;

class Workspace {
 public:
  // Makes a region large enough for so many bytes. Throws std::bad_alloc if all of them are beyond int64.
  void reserve(Region region, int64_t bytes) {
    const int index = static_cast<int>(region);
    const int64_t more = round_up(bytes, line) - size(region);
    if (more <= 0) return;
    for (int i = index + 1; i <= regions; ++i) begin_[i] = allocation_sum(begin_[i], more);
  }

  int64_t bytes() const { return begin_[regions]; }
  int64_t size(Region region) const { return begin_[static_cast<int>(region) + 1] - begin_[static_cast<int>(region)]; }
  // Returns where a region begins in memory of `bytes()` bytes, which is aligned to 64 bytes.
  char* at(char* memory, Region region) const { return memory + begin_[static_cast<int>(region)]; }

 private:
  static constexpr int64_t line = 64;
  std::array<int64_t, regions + 1> begin_{};  // bytes from the first region to each, and to the end of the last
};

}  // namespace pointwise
