// Computes dense products of up to 4 input channels and 4 output channels, such as colour matrices of images in HWC. In
// a dense product, the channels of a pixel are contiguous, and so are the pixels. The same holds for y.
//
// A plane is one channel of the pixels of a vector. Each group of pixels is separated into planes when it is loaded,
// and the planes of the results are joined when they are stored:
//
//     memory                       planes                           memory
//       [r0 g0 b0 r1 g1 b1 ...]      [r0 r1 r2 ...]                   [y0 u0 v0 y1 u1 v1 ...]
//                                    [g0 g1 g2 ...]  ->  y, u, v  ->
//                                    [b0 b1 b2 ...]
//
// All lanes are in use. Interleaved products (interleaved.h) use fewer instructions for each vector, but lanes may be
// empty, and each input channel of a vector takes a permutation. With 16 lanes these products are faster.
//
// In addition to the functions in common.h, V needs these functions for X = float and uint8_t and K from 1 to 4:
//
//     load_planes(p, V (&)[K])    loads V::lanes pixels of K channels from const X* p; reads planes_size<X, K> numbers
//     store_planes(V (&)[K], p)   stores as many pixels to X* p, rounded and saturated; writes planes_size<X, K>
//     numbers
#pragma once

#include "kernels/dense.h"

namespace pointwise {
namespace {

// Number of numbers that load_planes() and store_planes() access. Vectors of bytes may hold more than the pixels.
template <class V, class X, int K>
constexpr int planes_size = sizeof(X) == 1 && K == 3 ? 28 : V::lanes * K;

// The constants of a block with K input channels. X and Y are the types of the numbers of x and y.
template <class V, int K, class X, class Y>
class PlanesBlock {
 public:
  PlanesBlock(const Block& b, V floor) : channels_(static_cast<int>(b.channels)), floor_(floor) {
    constexpr ptrdiff_t item = sizeof(typename V::Number);
    for (int o = 0; o < channels_; ++o) {
      bias_[o] = V::broadcast(b.bias + o * item);
      for (int k = 0; k < K; ++k) weights_[o][k] = V::broadcast(b.weights + k * panel_bytes + o * item);
    }
  }

  // Computes `pixels` pixels. At x, `readable` numbers may be read. At y, `writable` numbers may be written.
  void run(const char* x, int64_t readable, int64_t pixels, char* y, int64_t writable) const {
    const X* const from = reinterpret_cast<const X*>(x);
    Y* const to = reinterpret_cast<Y*>(y);
    switch (channels_) {
      case 1: return run_outputs<1>(from, readable, pixels, to, writable);
      case 2: return run_outputs<2>(from, readable, pixels, to, writable);
      case 3: return run_outputs<3>(from, readable, pixels, to, writable);
      case 4: return run_outputs<4>(from, readable, pixels, to, writable);
    }
  }

 private:
  // Computes V::lanes pixels.
  template <int M>
  POINTWISE_INLINE void run_group(const X* x, Y* y) const {
    V planes[K], results[M];
    V::load_planes(x, planes);
    POINTWISE_UNROLL
    for (int o = 0; o < M; ++o) {
      results[o] = bias_[o];
      POINTWISE_UNROLL
      for (int k = 0; k < K; ++k) results[o] = V::fma(planes[k], weights_[o][k], results[o]);
      if (has_floor<V, Y>) results[o] = after(results[o], floor_);
    }
    V::store_planes(results, y);
  }

  template <int M>
  void run_outputs(const X* x, int64_t readable, int64_t pixels, Y* y, int64_t writable) const {
    constexpr int64_t lanes = V::lanes, reads = planes_size<V, X, K>, writes = planes_size<V, Y, M>;
    // Number of groups whose vectors may be read and written.
    const int64_t whole =
        readable < reads || writable < writes
            ? 0
            : smaller(pixels / lanes, 1 + smaller((readable - reads) / (lanes * K), (writable - writes) / (lanes * M)));
    for (int64_t i = 0; i < whole; ++i, x += lanes * K, y += lanes * M) run_group<M>(x, y);
    for (pixels -= whole * lanes; pixels > 0; pixels -= lanes, x += lanes * K, y += lanes * M) {
      const int64_t count = smaller(pixels, lanes);
      X numbers[reads] = {};
      Y results[writes];
      __builtin_memcpy(numbers, x, static_cast<size_t>(count * K) * sizeof(X));
      run_group<M>(numbers, results);
      __builtin_memcpy(y, results, static_cast<size_t>(count * M) * sizeof(Y));
    }
  }

  int channels_;  // output channels
  V weights_[most_planes][K], bias_[most_planes], floor_;
};

// Computes a block. MR and NR are the size of a tile of pixel rows, which compute blocks that are not dense.
template <class V, int MR, int NR>
void run_planes(const Block& b) {
  using T = typename V::Number;
  if (is_dense<V>(b, most_planes))
    dense_by_inputs<V, PlanesBlock, most_planes, T, T>(b);
  else
    run_pixel_rows<V, MR, NR>(b);
}

// Computes a block of numbers of x of type X and results of type Y.
template <class V, class X, class Y>
void run_planes_of(const Block& b) {
  dense_by_inputs<V, PlanesBlock, most_planes, X, Y>(b);
}

}  // namespace
}  // namespace pointwise
