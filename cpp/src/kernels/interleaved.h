// Computes dense products of few channels, such as colour matrices of images in HWC. In a dense product, the channels
// of a pixel are contiguous, and so are the pixels. The same holds for y.
//
//     one load:         [p0c0 p0c1 p0c2 p1c0 p1c1 p1c2 ...]           a group of pixels: as many as fit a vector
//     permuted for c0:  [p0c0 p0c0 p0c0 p1c0 p1c0 p1c0 ...]           one permutation for each input channel
//     times weights:    [ o0   o1   o2   o0   o1   o2  ...]           and added to the sums
//     one store:        [p0o0 p0o1 p0o2 p1o0 p1o1 p1o2 ...]
//
// The last lanes of a vector may hold only a part of a pixel. These lanes are stored, too, and the next group
// overwrites them.
//
// In addition to the functions in common.h, V has a type Index and these functions:
//
//     index(numbers)             an Index of `lanes` numbers of type int32_t
//     permute(v, index)          lane i is lane index[i] of v
#pragma once

#include "kernels/convert.h"
#include "kernels/few_outputs.h"
#include "kernels/pack.h"
#include "kernels/strip.h"

namespace pointwise {
namespace {

// Returns true if run_interleaved() computes the block itself. Ordinary pixel rows compute other blocks.
template <class V>
bool is_dense(const Block& b) {
  constexpr ptrdiff_t item = sizeof(typename V::Number);
  const auto one_run = [](ptrdiff_t pixel, ptrdiff_t channel, int64_t channels) {
    return pixel == channels * item && (channels == 1 || channel == item);
  };
  const int64_t most = most_interleaved(V::lanes);
  return b.input_channels >= 1 && b.input_channels <= most && b.channels >= 1 && b.channels <= most && !b.y_offsets &&
         !b.sums && one_run(b.x_pixel, b.x_channel, b.input_channels) && one_run(b.y_pixel, b.y_channel, b.channels) &&
         (!b.residual || (!b.residual_offsets && one_run(b.residual_pixel, b.residual_channel, b.channels)));
}

// The constants of a block with K input channels. X and Y are the types of the numbers of x and y.
template <class V, int K, class X, class Y>
struct InterleavedBlock {
  // A floor does not change unsigned results, because 0 is their least number.
  static constexpr bool has_floor = sizeof(Y) == sizeof(typename V::Number) || static_cast<Y>(-1) < 0;

  int channels, group;  // output channels; pixels of a group
  typename V::Index from[K];
  V weights[K], bias, floor;

  InterleavedBlock(const Block& b, V floor)
      : channels(static_cast<int>(b.channels)), group(V::lanes / (channels > K ? channels : K)), floor(floor) {
    int32_t outputs[V::lanes] = {}, first[V::lanes] = {}, inputs[V::lanes];
    for (int p = 0, i = 0; p < group; ++p)
      for (int o = 0; o < channels; ++o, ++i) {
        outputs[i] = o;
        first[i] = p * K;
      }
    const typename V::Index output = V::index(outputs);
    bias = V::permute(V::load(b.bias), output);
    for (int k = 0; k < K; ++k) {
      for (int i = 0; i < V::lanes; ++i) inputs[i] = first[i] + k;
      from[k] = V::index(inputs);
      weights[k] = V::permute(V::load(b.weights + k * panel_bytes), output);
    }
  }

  // Returns the results of a group in the first lanes. Other lanes are undefined.
  POINTWISE_INLINE V results(V x) const {
    V sum = bias;
    POINTWISE_UNROLL
    for (int k = 0; k < K; ++k) sum = V::fma(V::permute(x, from[k]), weights[k], sum);
    return has_floor ? after(sum, floor) : sum;
  }

  static V load(const char* x) {
    if constexpr (sizeof(X) == sizeof(typename V::Number))
      return V::load(x);
    else
      return V::convert(reinterpret_cast<const X*>(x));
  }

  static void store(V v, char* y) {
    if constexpr (sizeof(Y) == sizeof(typename V::Number))
      v.store(y);
    else
      v.store_as(reinterpret_cast<Y*>(y));
  }

  // Stores the first `count` numbers.
  static void store(V v, char* y, int count) {
    if constexpr (sizeof(Y) == sizeof(typename V::Number)) {
      v.store(y, V::first(count));
    } else {
      Y numbers[V::lanes];
      v.store_as(numbers);
      __builtin_memcpy(y, numbers, static_cast<size_t>(count) * sizeof(Y));
    }
  }

  // Computes `pixels` pixels. At x, `readable` numbers may be read. At y, `writable` numbers may be written.
  void run(const char* x, int64_t readable, int64_t pixels, char* y, int64_t writable) const {
    constexpr int64_t lanes = V::lanes;
    const int64_t x_step = group * K * static_cast<int64_t>(sizeof(X));
    const int64_t y_step = group * channels * static_cast<int64_t>(sizeof(Y));
    // Number of groups for which whole vectors may be read and written.
    int64_t whole = smaller((readable - lanes) / K, (writable - lanes) / channels) / group;
    if (readable < lanes || writable < lanes) whole = -1;
    whole = smaller(whole + 1, pixels / group);
    for (int64_t i = 0; i < whole; ++i, x += x_step, y += y_step) store(results(load(x)), y);
    for (pixels -= whole * group; pixels > 0; pixels -= group, x += x_step, y += y_step) {
      const int count = static_cast<int>(smaller(pixels, group));
      store(results(load_converted<V, X>(x, count * K)), y, count * channels);
    }
  }
};

// Computes a block with K input channels. If a residual, an activation or non-temporal stores follow the sums, computes
// strips of sums in L1, and finishes them.
template <class V, int K, class X, class Y>
void run_interleaved_inputs(const Block& b) {
  using T = typename V::Number;
  constexpr int64_t item = sizeof(T), lanes = V::lanes;
  const int64_t inputs = b.pixels * K, outputs = b.pixels * b.channels;
  if (!b.residual && b.epilogue.activate == nullptr && !b.stream) {
    const InterleavedBlock<V, K, X, Y> block(b, V::broadcast(b.epilogue.floor.address()));
    block.run(b.x, inputs, b.pixels, b.y, outputs);
    return;
  }
  const InterleavedBlock<V, K, X, T> block(b, V::fill(-__builtin_huge_val()));
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

// Calls run_interleaved_inputs for the number of input channels.
template <class V, int K, class X, class Y>
void interleaved_by_inputs(const Block& b) {
  if (b.input_channels == K) return run_interleaved_inputs<V, K, X, Y>(b);
  if constexpr (K > 1) interleaved_by_inputs<V, K - 1, X, Y>(b);
}

// Computes a block. MR and NR are the size of a tile of pixel rows.
template <class V, int MR, int NR>
void run_interleaved(const Block& b) {
  using T = typename V::Number;
  if (is_dense<V>(b))
    interleaved_by_inputs<V, most_interleaved(V::lanes), T, T>(b);
  else
    run_pixel_rows<V, MR, NR>(b);
}

// Computes a block of integers: converts numbers of x when it loads them, and results when it stores them.
template <class V, class Integer>
void run_interleaved_integers(const Block& b) {
  interleaved_by_inputs<V, most_interleaved_integers(V::lanes), Integer, Integer>(b);
}

}  // namespace
}  // namespace pointwise
