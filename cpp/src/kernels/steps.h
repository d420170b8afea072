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

// Interleaves the numbers of the channels of a step, for one pixel.
struct InterleaveOne {
  static constexpr int64_t pixels = 1;
  static void bytes(const char* a, const char* b, const char* c, const char* d, uint32_t flip, char* to) {
    const auto byte = [](const char* p) { return uint32_t{read<uint8_t>(p)}; };
    const uint32_t step = (byte(a) | byte(b) << 8 | byte(c) << 16 | byte(d) << 24) ^ flip;
    __builtin_memcpy(to, &step, sizeof(step));
  }
  template <class X>
  static void words(const X* a, const X* b, char* to) {
    const int16_t step[] = {*a, *b};
    __builtin_memcpy(to, step, sizeof(step));
  }
};

// Calls f(interleave, i) for ranges of pixels, where i is the first pixel of a range of Interleave::pixels pixels. The
// last two ranges may overlap. If there are fewer than Interleave::pixels pixels, each range is a single pixel.
template <class Interleave, class F>
POINTWISE_INLINE void for_ranges(int64_t pixels, const F& f) {
  if (pixels < Interleave::pixels) {
    for (int64_t i = 0; i < pixels; ++i) f(InterleaveOne(), i);
    return;
  }
  int64_t i = 0;
  for (; i + Interleave::pixels <= pixels; i += Interleave::pixels) f(Interleave(), i);
  if (i < pixels) f(Interleave(), pixels - Interleave::pixels);
}

// Implement StepKernels::pack_step.
template <class V, class X>
void pack_step_bytes(const char* const* x, int64_t pixels, char* to) {
  const char *const a = x[0], *const b = x[1], *const c = x[2], *const d = x[3];
  const uint32_t flip = static_cast<X>(-1) < 0 ? 0x80808080 : 0;
  for_ranges<typename V::Interleave>(pixels, [&](auto interleave, int64_t i) {
    interleave.bytes(a + i, b + i, c + i, d + i, flip, to + i * step_bytes);
  });
}
template <class V, class X>
void pack_step_words(const char* const* x, int64_t pixels, char* to) {
  const X *const a = reinterpret_cast<const X*>(x[0]), *const b = reinterpret_cast<const X*>(x[1]);
  for_ranges<typename V::Interleave>(
      pixels, [&](auto interleave, int64_t i) { interleave.words(a + i, b + i, to + i * step_bytes); });
}

// Implements IntegerKernels::requantize. V::Requantizer has two functions: `one` turns a vector of sums into bytes, and
// `four` turns four contiguous vectors into bytes.
template <class V>
void requantize(const SumRows& given, const Rounding& rounding) {
  constexpr int64_t lanes = V::lanes;
  const SumRows rows = given;
  const typename V::Requantizer convert(rounding);
  for (int64_t r = 0; r < rows.rows; ++r) {
    const char* const sums = rows.sums + r * rows.sums_row;
    char* const to = rows.to + r * rows.to_row;
    const auto run = [&](const auto& factor) __attribute__((always_inline)) {
      int64_t i = 0;
      for (; i + 4 * lanes <= rows.count; i += 4 * lanes)
        convert.four(sums + i * step_bytes, factor(i), factor(i + lanes), factor(i + 2 * lanes), factor(i + 3 * lanes),
                     to + i);
      for (; i + lanes <= rows.count; i += lanes) convert.one(sums + i * step_bytes, factor(i), to + i);
      if (i == rows.count) return;
      char bytes[lanes];
      convert.one(sums + i * step_bytes, factor(i), bytes);
      for (int64_t k = 0; i + k < rows.count; ++k) to[i + k] = bytes[k];
    };
    if (rows.by_row) {
      const typename V::Floats same = V::floats(rows.factors[r]);
      run([&](int64_t) { return same; });
    } else {
      run([&](int64_t i) { return V::load_floats(rows.factors + i); });
    }
  }
}

// Return the kernels for one kind of steps. C and P are the vector types of channel rows and of pixel rows. The tiles
// have MR rows of NR vectors.
template <class C, int CMR, int CNR, class P, int PMR, int PNR>
constexpr StepKernels bytes_kernels(const char* channels, const char* pixels) {
  return {{channels, u8_by_i8, Rows::channels, Reads::pixels, CMR, CNR, C::lanes, run_channel_rows<C, CMR, CNR>},
          {pixels, u8_by_i8, Rows::pixels, Reads::any, PMR, PNR, P::lanes, run_pixel_rows<P, PMR, PNR>},
          {pack_pixel_bytes<uint8_t>, pack_pixel_bytes<int8_t>},
          {pack_step_bytes<P, uint8_t>, pack_step_bytes<P, int8_t>}};
}
template <class V, int CMR, int CNR, int PMR, int PNR>
constexpr StepKernels words_kernels(const char* channels, const char* pixels) {
  return {{channels, i16_by_i16, Rows::channels, Reads::pixels, CMR, CNR, V::lanes, run_channel_rows<V, CMR, CNR>},
          {pixels, i16_by_i16, Rows::pixels, Reads::any, PMR, PNR, V::lanes, run_pixel_rows<V, PMR, PNR>},
          {pack_pixel_words<uint8_t>, pack_pixel_words<int8_t>},
          {pack_step_words<V, uint8_t>, pack_step_words<V, int8_t>}};
}

}  // namespace
}  // namespace pointwise
