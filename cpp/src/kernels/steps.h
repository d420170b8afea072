// Templates for the kernels of integers.h: packing and requantization.
#pragma once

#include "kernels/block.h"
#include "kernels/integers.h"

namespace pointwise {
namespace {

// Returns a number of x as an unsigned byte of a step.
template <class X>
POINTWISE_INLINE uint8_t byte_of(X x) {
  return static_cast<uint8_t>(static_cast<X>(-1) < 0 ? x ^ 0x80 : x);
}

template <class X>
void pack_pixel_bytes(const char* x, int64_t channels, char* to) {
  const X* const from = reinterpret_cast<const X*>(x);
  for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<char>(byte_of(from[c]));
  for (int64_t c = channels; c % channels_of(Step::bytes) != 0; ++c) to[c] = 0;
}

template <class X>
void pack_pixel_words(const char* x, int64_t channels, char* to) {
  const X* const from = reinterpret_cast<const X*>(x);
  int16_t* const words = reinterpret_cast<int16_t*>(to);
  for (int64_t c = 0; c < channels; ++c) words[c] = from[c];
  if (channels % channels_of(Step::words) != 0) words[channels] = 0;
}

template <class X>
void pack_step_bytes(const char* const* x, int64_t pixels, char* to) {
  const uint8_t* const __restrict__ a = reinterpret_cast<const uint8_t*>(x[0]), * const __restrict__ b = reinterpret_cast<const uint8_t*>(x[1]), * const __restrict__ c = reinterpret_cast<const uint8_t*>(x[2]), * const __restrict__ d = reinterpret_cast<const uint8_t*>(x[3]);
  uint32_t* const __restrict__ steps = reinterpret_cast<uint32_t*>(to);
  const uint32_t flip = static_cast<X>(-1) < 0 ? 0x80808080 : 0;
  for (int64_t i = 0; i < pixels; ++i)
    steps[i] = (a[i] | uint32_t{b[i]} << 8 | uint32_t{c[i]} << 16 | uint32_t{d[i]} << 24) ^ flip;
}

template <class X>
void pack_step_words(const char* const* x, int64_t pixels, char* to) {
  const X* const __restrict__ a = reinterpret_cast<const X*>(x[0]), * const __restrict__ b =
                                                                        reinterpret_cast<const X*>(x[1]);
  uint32_t* const __restrict__ steps = reinterpret_cast<uint32_t*>(to);
  for (int64_t i = 0; i < pixels; ++i)
    steps[i] = (static_cast<uint32_t>(a[i]) & 0xffff) | static_cast<uint32_t>(b[i]) << 16;
}

// Implements IntegerKernels::requantize. V::requantize() stores one vector of results as bytes.
template <class V>
void requantize(const char* sums, int64_t count, const float* factors, bool one, const Rounding& rounding, char* to) {
  constexpr int64_t lanes = V::lanes;
  const typename V::Floats low = V::floats(rounding.low), high = V::floats(rounding.high),
                           same = V::floats(one ? *factors : 0);
  const V zero = V::fill(rounding.zero);
  const auto convert = [&](int64_t i, char* bytes) {
    V::load(sums + i * step_bytes).requantize(one ? same : V::load_floats(factors + i), low, high, zero, bytes);
  };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) convert(i, to + i);
  if (i == count) return;
  char bytes[lanes];
  convert(i, bytes);
  for (int64_t k = 0; i + k < count; ++k) to[i + k] = bytes[k];
}

// Transposes lanes x lanes numbers in memory. The driver of quantized products stores few blocks that need it.
template <class V>
void transpose_in_memory(V (&m)[V::lanes]) {
  using T = typename V::Number;
  alignas(64) T numbers[V::lanes][V::lanes], turned[V::lanes][V::lanes];
  for (int i = 0; i < V::lanes; ++i) m[i].store(reinterpret_cast<char*>(numbers[i]));
  for (int i = 0; i < V::lanes; ++i)
    for (int j = 0; j < V::lanes; ++j) turned[j][i] = numbers[i][j];
  for (int i = 0; i < V::lanes; ++i) m[i] = V::load(reinterpret_cast<const char*>(turned[i]));
}

// Return the kernels for one kind of steps. C and P are the vector types of channel rows and of pixel rows. The tiles
// have MR rows of NR vectors.
template <class C, int CMR, int CNR, class P, int PMR, int PNR>
constexpr StepKernels bytes_kernels(const char* channels, const char* pixels) {
  return {{channels, u8_by_i8, Rows::channels, Reads::pixels, CMR, CNR, C::lanes, run_channel_rows<C, CMR, CNR>},
          {pixels, u8_by_i8, Rows::pixels, Reads::any, PMR, PNR, P::lanes, run_pixel_rows<P, PMR, PNR>},
          {pack_pixel_bytes<uint8_t>, pack_pixel_bytes<int8_t>},
          {pack_step_bytes<uint8_t>, pack_step_bytes<int8_t>}};
}
template <class V, int CMR, int CNR, int PMR, int PNR>
constexpr StepKernels words_kernels(const char* channels, const char* pixels) {
  return {{channels, i16_by_i16, Rows::channels, Reads::pixels, CMR, CNR, V::lanes, run_channel_rows<V, CMR, CNR>},
          {pixels, i16_by_i16, Rows::pixels, Reads::any, PMR, PNR, V::lanes, run_pixel_rows<V, PMR, PNR>},
          {pack_pixel_words<uint8_t>, pack_pixel_words<int8_t>},
          {pack_step_words<uint8_t>, pack_step_words<int8_t>}};
}

}  // namespace
}  // namespace pointwise
