// Computes dense products: in x and y, the channels of a pixel are contiguous, and so are the pixels. Used by
// interleaved.h and planes.h, whose classes of blocks compute the sums.
//
// A class `Of<V, K, X, Y>` of blocks has K input channels. X and Y are the types of the numbers of x and y. It is made
// from a Block and a floor, and has a function
//
//     run(x, readable, pixels, y, writable)   computes `pixels` pixels; `readable` numbers at x may be read, and
//                                             `writable` numbers at y may be written
#pragma once

#include "kernels/convert.h"
#include "kernels/few_outputs.h"
#include "kernels/pack.h"
#include "kernels/strip.h"

namespace pointwise {
namespace {

// Returns true if the block is dense and has at most `most` input channels and `most` output channels. Ordinary pixel
// rows compute other blocks.
template <class V>
bool is_dense(const Block& b, int64_t most) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  const auto one_run = [](ptrdiff_t pixel, ptrdiff_t channel, int64_t channels) {
    return pixel == channels * item && (channels == 1 || channel == item);
  };
  return b.input_channels >= 1 && b.input_channels <= most && b.channels >= 1 && b.channels <= most && !b.y_offsets &&
         !b.sums && one_run(b.x_pixel, b.x_channel, b.input_channels) && one_run(b.y_pixel, b.y_channel, b.channels) &&
         (!b.residual || (!b.residual_offsets && one_run(b.residual_pixel, b.residual_channel, b.channels)));
}

// False if a floor cannot change results of type Y. The least unsigned integer is 0.
template <class V, class Y>
constexpr bool has_floor = sizeof(Y) == sizeof(typename V::Number) || static_cast<Y>(-1) < 0;

// Computes a block with K input channels. If a residual, an activation or non-temporal stores follow the sums, computes
// strips of sums in L1, and finishes them.
template <class V, template <class, int, class, class> class Of, int K, class X, class Y>
void run_dense_inputs(const Block& b) {
  using T = typename V::Number;
  constexpr int64_t item = sizeof(T), lanes = V::lanes;
  const int64_t inputs = b.pixels * K, outputs = b.pixels * b.channels;
  if (!b.residual && b.epilogue.activate == nullptr && !b.stream) {
    const Of<V, K, X, Y> block(b, V::broadcast(b.epilogue.floor.address()));
    block.run(b.x, inputs, b.pixels, b.y, outputs);
    return;
  }
  const Of<V, K, X, T> block(b, V::fill(-__builtin_huge_val()));
  constexpr int64_t strip = 128;  // pixels
  alignas(64) T sums[strip * most_interleaved(V::lanes) + lanes] = {};
  Block flat = b;  // its "pixels" are the numbers of y
  flat.y_pixel = flat.residual_pixel = item;
  for (int64_t p = 0; p < b.pixels; p += strip) {
    const int64_t pixels = smaller(strip, b.pixels - p), numbers = pixels * b.channels;
    const int64_t done = p * K;
    block.run(b.x + done * static_cast<int64_t>(sizeof(X)), inputs - done, pixels, reinterpret_cast<char*>(sums),
              numbers + lanes);
    if constexpr (sizeof(Y) == sizeof(T)) {
      finish_strip<V>(flat, sums, 0, p * b.channels, static_cast<int>(numbers), 0, 1);
    } else {
      char* const to = reinterpret_cast<char*>(sums);
      finish_row<V>(b.epilogue, to, ceil_div(numbers, lanes));
      convert_numbers<V, Y>(to, numbers, b.y + p * b.channels * static_cast<int64_t>(sizeof(Y)), sizeof(Y));
    }
  }
  if (b.stream) V::fence();
}

// Calls run_dense_inputs for the number of input channels, which is at most K.
template <class V, template <class, int, class, class> class Of, int K, class X, class Y>
void dense_by_inputs(const Block& b) {
  if (b.input_channels == K) return run_dense_inputs<V, Of, K, X, Y>(b);
  if constexpr (K > 1) dense_by_inputs<V, Of, K - 1, X, Y>(b);
}

}  // namespace
}  // namespace pointwise
