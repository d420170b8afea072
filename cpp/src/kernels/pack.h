// Packs pixels and weights, and multiplies packed pixels by factors.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// Loads `count` contiguous numbers of type X and converts them to one vector. `count` is at most V::lanes. Sets the
// other lanes to zero.
template <class V, class X>
inline V load_converted(const char* p, int count) {
  using T = typename V::Number;
  if constexpr (sizeof(X) == sizeof(T)) {
    return count == V::lanes ? V::load(p) : V::load(p, V::first(count));
  } else {
    if (count == V::lanes) return V::convert(reinterpret_cast<const X*>(p));
    alignas(64) T numbers[V::lanes] = {};
    for (int i = 0; i < count; ++i) numbers[i] = to_number<T>(read<X>(p + i * static_cast<ptrdiff_t>(sizeof(X))));
    return V::load(reinterpret_cast<const char*>(numbers));
  }
}

// The order of packed channels. `pairs` exchanges the channels of each pair (place_in_pairs).
enum class Order { ascending, pairs };

// Returns the position of a channel in packed memory.
template <Order O>
inline int64_t place(int64_t channel, int64_t channels) {
  return O == Order::pairs ? place_in_pairs(channel, channels) : channel;
}

// Packs a square: `lanes` pixels x `lanes` channels, beginning with channel `first`. `even` may be true only if the
// offsets are evenly spaced. False is always correct.
template <class V, class X, Order O>
inline void pack_square(const char* x, const ptrdiff_t* offsets, bool even, int64_t first, int64_t channels, char* to,
                        ptrdiff_t to_channel) {
  V v[V::lanes];
  if (even && sizeof(X) == sizeof(typename V::Number)) {
    V::load_square(x + offsets[0], offsets[1] - offsets[0], v);
  } else {
    POINTWISE_UNROLL
    for (int k = 0; k < V::lanes; ++k) v[k] = load_converted<V, X>(x + offsets[k], V::lanes);
    V::transpose(v);
  }
  POINTWISE_UNROLL
  for (int k = 0; k < V::lanes; ++k) v[k].store(to + place<O>(first + k, channels) * to_channel);
}

// Packs pixels whose channels are contiguous: transposes squares of lanes x lanes numbers in registers. If there are
// enough pixels and channels for a full square, the last squares overlap earlier squares. So all squares are full.
template <class V, class X, Order O>
void pack_channels_last(const char* x, const ptrdiff_t* offsets, int64_t pixels, int64_t channels, char* to,
                        ptrdiff_t to_channel) {
  constexpr int lanes = V::lanes;
  constexpr ptrdiff_t item = sizeof(typename V::Number), x_item = sizeof(X);
  const bool whole = pixels >= lanes && channels >= lanes;
  for (int64_t p = 0; p < pixels; p += lanes) {
    if (whole) {
      const int64_t first = smaller(p, pixels - lanes);
      const ptrdiff_t* at = offsets + first;
      bool even = true;
      for (int k = 2; k < lanes; ++k) even &= at[k] - at[k - 1] == at[1] - at[0];
      for (int64_t c = 0; c < channels; c += lanes) {
        const int64_t channel = smaller(c, channels - lanes);
        pack_square<V, X, O>(x + channel * x_item, at, even, channel, channels, to + first * item, to_channel);
      }
      continue;
    }
    const int rows = static_cast<int>(smaller(lanes, pixels - p));
    for (int64_t c = 0; c < channels; c += lanes) {
      const int columns = static_cast<int>(smaller(lanes, channels - c));
      V v[lanes];
      const auto out = V::first(rows);
      for (int k = 0; k < lanes; ++k)
        v[k] = k < rows ? load_converted<V, X>(x + offsets[p + k] + c * x_item, columns) : V::fill(0);
      V::transpose(v);
      for (int k = 0; k < columns; ++k) v[k].store(to + place<O>(c + k, channels) * to_channel + p * item, out);
    }
  }
}

// Implements KernelTable::scale.
template <class V>
void scale_numbers(char* numbers, ptrdiff_t row, int64_t rows, int64_t count, const char* factors, bool by_column) {
  constexpr int64_t item = sizeof(typename V::Number), lanes = V::lanes;
  for (int64_t r = 0; r < rows; ++r, numbers += row) {
    V factor = by_column ? V::fill(0) : V::broadcast(factors + r * item);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      if (by_column) factor = V::load(factors + i * item);
      V::mul(V::load(numbers + i * item), factor).store(numbers + i * item);
    }
    if (i == count) continue;
    const auto mask = V::first(static_cast<int>(count - i));
    if (by_column) factor = V::load(factors + i * item, mask);
    V::mul(V::load(numbers + i * item, mask), factor).store(numbers + i * item, mask);
  }
}

// Converts `count` numbers and stores them contiguously. The numbers are `step` bytes apart at `from`.
template <class T, class X>
inline void copy_converted(const char* from, ptrdiff_t step, int64_t count, char* to) {
  for (int64_t i = 0; i < count; ++i) {
    const T number = to_number<T>(read<X>(from + i * step));
    __builtin_memcpy(to + i * static_cast<ptrdiff_t>(sizeof(T)), &number, sizeof(T));
  }
}

// Implements Pack::run.
template <class V, class X>
void pack_run(const char* from, int64_t count, char* to) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T), x_item = sizeof(X);
  if constexpr (sizeof(X) == sizeof(T)) {
    __builtin_memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
  } else {
    int64_t i = 0;
    for (; i + V::lanes <= count; i += V::lanes)
      V::convert(reinterpret_cast<const X*>(from + i * x_item)).store(to + i * item);
    copy_converted<T, X>(from + i * x_item, x_item, count - i, to + i * item);
  }
}

// Implements Pack::run for channels in the order of pairs.
template <class V, class X>
void pack_run_of_pairs(const char* from, int64_t count, char* to) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T), x_item = sizeof(X);
  int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes)
    V::swap_pairs(V::convert(reinterpret_cast<const X*>(from + i * x_item))).store(to + i * item);
  for (; i < count; ++i) copy_converted<T, X>(from + i * x_item, x_item, 1, to + place_in_pairs(i, count) * item);
}

// Implements Pack::pixels. Finds the ranges of evenly spaced pixels once, and uses them for every channel.
template <class V, class X, Order O>
void pack_pixels(const char* x, ptrdiff_t x_channel, const ptrdiff_t* offsets, int64_t pixels, int64_t channels,
                 char* to, ptrdiff_t to_channel) {
  using T = typename V::Number;
  constexpr ptrdiff_t item = sizeof(T), x_item = sizeof(X);
  if (x_channel == x_item && channels > 1) {
    pack_channels_last<V, X, O>(x, offsets, pixels, channels, to, to_channel);
    return;
  }
  for (int64_t begin = 0, end; begin < pixels; begin = end) {
    const ptrdiff_t step = begin + 1 < pixels ? offsets[begin + 1] - offsets[begin] : x_item;
    end = begin + 1;
    while (end < pixels && offsets[end] - offsets[end - 1] == step) ++end;
    const char* from = x + offsets[begin];
    const int64_t count = end - begin;
    for (int64_t c = 0; c < channels; ++c, from += x_channel) {
      char* const row = to + begin * item + place<O>(c, channels) * to_channel;
      if (step == x_item)
        pack_run<V, X>(from, count, row);
      else if (step == 2 * x_item)
        copy_converted<T, X>(from, 2 * x_item, count, row);
      else
        copy_converted<T, X>(from, step, count, row);
    }
  }
}

template <class V, class X>
constexpr Pack pack_of = {pack_pixels<V, X, Order::ascending>, pack_run<V, X>};
template <class V, class X>
constexpr Pack pack_pairs_of = {pack_pixels<V, X, Order::pairs>, pack_run_of_pairs<V, X>};

// Returns the table for KernelTable::pack, in the order of DType.
template <class V>
constexpr PackTable make_pack_table() {
  using T = typename V::Number;
  constexpr Pack none = {nullptr, nullptr};
  if constexpr (sizeof(T) == 4)
    return {{pack_of<V, T>, none, pack_of<V, uint8_t>, pack_of<V, int8_t>, pack_of<V, uint16_t>, pack_of<V, int16_t>,
             pack_of<V, Float16>, pack_of<V, BFloat16>},
            pack_pairs_of<V, BFloat16>};
  else
    return {{none, pack_of<V, T>}, none};
}
template <class V>
constexpr PackTable pack_functions = make_pack_table<V>();

// Implements KernelTable::pack_weights. Transposes squares of weights in registers.
template <class V>
void pack_weights_panel(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels, char* panel) {
  using T = typename V::Number;
  constexpr int width = panel_width<T>(), lanes = V::lanes;
  for (int64_t i = 0; i < input_channels; i += lanes) {
    const int inputs = static_cast<int>(smaller(lanes, input_channels - i));
    const auto mask = V::first(inputs);
    for (int c = 0; c < width; c += lanes) {
      const char* from = weights + i * static_cast<ptrdiff_t>(sizeof(T));
      V v[lanes];
      if (inputs == lanes && c + lanes <= channels) {
        V::load_square(from + c * step, step, v);
      } else {
        for (int k = 0; k < lanes; ++k) v[k] = c + k < channels ? V::load(from + (c + k) * step, mask) : V::fill(0);
        V::transpose(v);
      }
      char* to = panel + (i * width + c) * static_cast<ptrdiff_t>(sizeof(T));
      if (inputs == lanes) {
        POINTWISE_UNROLL
        for (int k = 0; k < lanes; ++k) v[k].store(to + k * 64);
      } else {
        for (int k = 0; k < inputs; ++k) v[k].store(to + k * 64);
      }
    }
  }
}

}  // namespace
}  // namespace pointwise
