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

#include "kernels/dense.h"

namespace pointwise {
namespace {

// The constants of a block with K input channels. X and Y are the types of the numbers of x and y.
template <class V, int K, class X, class Y>
struct InterleavedBlock {
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
    return has_floor<V, Y> ? after(sum, floor) : sum;
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

// Computes a block. MR and NR are the size of a tile of pixel rows.
template <class V, int MR, int NR>
void run_interleaved(const Block& b) {
  using T = typename V::Number;
  constexpr int most = most_interleaved(V::lanes);
  if (is_dense<V>(b, most))
    dense_by_inputs<V, InterleavedBlock, most, T, T>(b);
  else
    run_pixel_rows<V, MR, NR>(b);
}

// Computes a block of integers: converts numbers of x when it loads them, and results when it stores them.
template <class V, class Integer>
void run_interleaved_integers(const Block& b) {
  dense_by_inputs<V, InterleavedBlock, most_interleaved_integers(V::lanes), Integer, Integer>(b);
}

}  // namespace
}  // namespace pointwise
