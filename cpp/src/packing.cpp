#include "packing.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "buffer_pool.h"
#include "checked.h"

namespace pointwise {

void FreeAligned::operator()(void* p) const { std::free(p); }

AlignedBytes allocate_aligned(int64_t bytes) {
  int64_t padded;
  if (!checked_add(bytes, 64, &padded)) throw std::bad_alloc();
  const size_t size = static_cast<size_t>(padded / 64 * 64);
  void* p = std::aligned_alloc(64, size);
  if (p == nullptr) {
    release_idle_buffers();
    p = std::aligned_alloc(64, size);
  }
  if (p == nullptr) throw std::bad_alloc();
  return AlignedBytes(static_cast<char*>(p));
}

template <class T>
const T* PackedWeights<T>::weights(int64_t group) const {
  return reinterpret_cast<const T*>(memory.get()) + group * panels * panel_width<T>() * input_channels;
}

template <class T>
const T* PackedWeights<T>::bias(int64_t group) const {
  return weights(groups) + group * panels * panel_width<T>();  // behind the weights of the last group
}

template <class T>
PackedWeights<T> pack_weights(const View& weights, const View* bias, int64_t groups) {
  constexpr int64_t width = panel_width<T>();
  PackedWeights<T> packed{};
  packed.channels = weights.shape[0] / groups;
  packed.groups = packed.channels > 0 ? groups : 0;  // there may be any number of groups without channels
  packed.input_channels = weights.shape[1];
  packed.panels = ceil_div(packed.channels, width);
  int64_t columns = packed.input_channels;  // and one of bias
  if (!checked_add(columns, 1, &columns)) throw std::bad_alloc();
  int64_t numbers = allocation_size(packed.panels, width);
  numbers = allocation_size(allocation_size(numbers, columns), packed.groups);
  packed.memory = allocate_aligned(allocation_size(numbers, sizeof(T)));

  for (int64_t group = 0; group < packed.groups; ++group) {
    T* to = const_cast<T*>(packed.weights(group));
    T* to_bias = const_cast<T*>(packed.bias(group));
    for (int64_t begin = 0; begin < packed.channels; begin += width) {
      const int64_t first = group * packed.channels + begin, used = std::min(width, packed.channels - begin);
      const char* from = static_cast<const char*>(weights.data) + first * weights.strides[0];
      // A block of input channels at a time: a line of each row of weights is read whole. (One input channel at a time,
      // rows a power of two apart throw each other out of L1: three times as slow.)
      for (int64_t first_input = 0; first_input < packed.input_channels; first_input += width) {
        const int64_t inputs = std::min(width, packed.input_channels - first_input);
        if (used < width) std::fill(to, to + inputs * width, T{0});
        for (int64_t o = 0; o < used; ++o) {
          const char* row = from + o * weights.strides[0] + first_input * weights.strides[1];
          for (int64_t i = 0; i < inputs; ++i) std::memcpy(to + i * width + o, row + i * weights.strides[1], sizeof(T));
        }
        to += inputs * width;
      }
      for (int64_t o = 0; o < width; ++o) {
        to_bias[begin + o] = 0;
        if (bias != nullptr && o < used)
          std::memcpy(to_bias + begin + o, static_cast<const char*>(bias->data) + (first + o) * bias->strides[0],
                      sizeof(T));
      }
    }
  }
  return packed;
}

Weights pack_weights(const View& weights, const View* bias, const Options& options) {
  if (options.dtype == DType::f32) return pack_weights<float>(weights, bias, options.groups);
  return pack_weights<double>(weights, bias, options.groups);
}

template <class T>
void unpack_weights(const PackedWeights<T>& packed, T* to) {
  constexpr int64_t width = panel_width<T>();
  for (int64_t group = 0; group < packed.groups; ++group)
    for (int64_t o = 0; o < packed.channels; ++o) {
      const T* panel = packed.weights(group) + o / width * width * packed.input_channels + o % width;
      for (int64_t i = 0; i < packed.input_channels; ++i) *to++ = panel[i * width];
    }
}

template <class T>
void unpack_bias(const PackedWeights<T>& packed, T* to) {
  for (int64_t group = 0; group < packed.groups; ++group)
    to = std::copy(packed.bias(group), packed.bias(group) + packed.channels, to);
}

template struct PackedWeights<float>;
template struct PackedWeights<double>;
template PackedWeights<float> pack_weights(const View&, const View*, int64_t);
template PackedWeights<double> pack_weights(const View&, const View*, int64_t);
template void unpack_weights(const PackedWeights<float>&, float*);
template void unpack_weights(const PackedWeights<double>&, double*);
template void unpack_bias(const PackedWeights<float>&, float*);
template void unpack_bias(const PackedWeights<double>&, double*);

}  // namespace pointwise
