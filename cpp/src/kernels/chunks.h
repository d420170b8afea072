// Adds the sums of chunks. A sum of more than `chunk_channels` input channels is computed in chunks (kernel.h).
//
// A tile computes the sums of one chunk in registers. At the end of each chunk but the last, it adds these sums to
// totals in memory and sets the registers to zero. At the end of the last chunk, it adds the totals to the registers.
// So the loop over input channels needs no additional registers.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// The totals of a tile of R rows and C vectors: the sums of all chunks that are complete.
template <class V, int R, int C>
class Totals {
 public:
  POINTWISE_INLINE Totals() : at_(reinterpret_cast<char*>(memory_)) { asm("" : "+r"(at_)); }

  // Ends a chunk other than the last one: adds its sums to the totals, then sets the sums to zero.
  POINTWISE_INLINE void end_chunk(V (&sums)[R][C]) {
    if (any_)
      move(sums, [](V total, V sum) { return V::add(total, sum); });
    else
      move(sums, [](V, V sum) { return sum; });
    any_ = true;
  }

  // Ends the last chunk: adds the totals to the sums.
  POINTWISE_INLINE void end_sum(V (&sums)[R][C]) const {
    if (!any_) return;
    POINTWISE_UNROLL
    for (int r = 0; r < R; ++r) {
      POINTWISE_UNROLL
      for (int j = 0; j < C; ++j) sums[r][j] = V::add(V::load(at(r, j)), sums[r][j]);
    }
  }

 private:
  char* at(int r, int j) const { return at_ + (r * C + j) * static_cast<ptrdiff_t>(sizeof(V)); }

  template <class F>
  POINTWISE_INLINE void move(V (&sums)[R][C], const F& total) {
    POINTWISE_UNROLL
    for (int r = 0; r < R; ++r) {
      POINTWISE_UNROLL
      for (int j = 0; j < C; ++j) {
        total(V::load(at(r, j)), sums[r][j]).store(at(r, j));
        sums[r][j] = V::fill(0);
      }
    }
  }

  V memory_[R * C];
  char* at_;  // address of memory_. If the compiler knew this address, it would keep the totals in registers
  bool any_ = false;
};

}  // namespace
}  // namespace pointwise
