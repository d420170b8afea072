#include "product/integer_packing.h"

#include <cstring>

#include "base/checked.h"
#include "kernels/registry.h"

namespace pointwise {
namespace {

template <class T>
int number_at(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Reads a weight, and subtracts the zero point of its output channel.
class Weights {
 public:
  Weights(const View& view, const IntegerParameters& parameters) : view_(view), parameters_(parameters) {}
  int at(int64_t channel, int64_t input) const {
    const char* const from =
        static_cast<const char*>(view_.data) + channel * view_.strides[0] + input * view_.strides[1];
    const int number = view_.dtype == DType::u8 ? number_at<uint8_t>(from) : number_at<int8_t>(from);
    return number - parameters_.weight_zeros[static_cast<size_t>(channel)];
  }

 private:
  const View& view_;
  const IntegerParameters& parameters_;
};

bool fit_bytes(const View& view, const Weights& weights) {
  for (int64_t o = 0; o < view.shape[0]; ++o)
    for (int64_t i = 0; i < view.shape[1]; ++i)
      if (const int w = weights.at(o, i); w < -128 || w > 127) return false;
  return true;
}

}  // namespace

const char* PackedIntegers::weights(int64_t group) const { return memory.get() + group * panels * panel_bytes * steps; }
const int32_t* PackedIntegers::starts(int64_t group, bool padding) const {
  const int64_t row = groups * panels * steps + (3 * group + padding) * panels;
  return reinterpret_cast<const int32_t*>(memory.get() + row * panel_bytes);
}
const float* PackedIntegers::factors(int64_t group) const {
  return reinterpret_cast<const float*>(starts(group, false) + 2 * panels * panel_channels);
}

PackedIntegers pack_integers(const View& view, const IntegerParameters& parameters) {
  const Weights weights(view, parameters);
  const IntegerKernels& kernels = *selected_isa().integers;
  PackedIntegers packed{};
  packed.step = kernels.bytes.pixels.run != nullptr && fit_bytes(view, weights) ? Step::bytes : Step::words;
  packed.src = parameters.src;
  packed.dst = parameters.dst;
  packed.rounding = parameters.rounding;
  packed.m = view.shape[0] / parameters.groups;
  packed.groups = packed.m > 0 ? parameters.groups : 0;  // without output channels, any number of groups is valid
  packed.k = view.shape[1];
  const int in_step = channels_of(packed.step);
  packed.steps = ceil_div(packed.k, in_step);
  packed.panels = ceil_div(packed.m, panel_channels);
  const int64_t rows = allocation_size(packed.panels, allocation_sum(packed.steps, 3));
  const int64_t bytes = allocation_size(allocation_size(rows, packed.groups), panel_bytes);
  packed.memory = allocate_aligned(bytes);
  std::memset(packed.memory.get(), 0, static_cast<size_t>(bytes));

  // Kernels for bytes read int8 as uint8, with 128 added.
  const int64_t offset = parameters.src_zero + (packed.step == Step::bytes && packed.src == DType::i8 ? 128 : 0);
  for (int64_t group = 0; group < packed.groups; ++group) {
    char* const panels = const_cast<char*>(packed.weights(group));
    int32_t* const starts = const_cast<int32_t*>(packed.starts(group, false));
    int32_t* const starts_outside = const_cast<int32_t*>(packed.starts(group, true));
    float* const factors = const_cast<float*>(packed.factors(group));
    for (int64_t o = 0; o < packed.m; ++o) {
      const int64_t channel = group * packed.m + o;
      char* const to = panels + o / panel_channels * packed.steps * panel_bytes + o % panel_channels * step_bytes;
      int64_t sum = 0;
      for (int64_t i = 0; i < packed.k; ++i) {
        const int w = weights.at(channel, i);
        sum += w;
        char* const step = to + i / in_step * panel_bytes;
        if (packed.step == Step::bytes) {
          step[i % in_step] = static_cast<char>(w);
        } else {
          const int16_t word = static_cast<int16_t>(w);
          std::memcpy(step + i % in_step * 2, &word, sizeof(word));
        }
      }
      const int32_t bias = parameters.bias[static_cast<size_t>(channel)];
      starts_outside[o] = bias;
      starts[o] = static_cast<int32_t>(static_cast<uint32_t>(bias) - static_cast<uint32_t>(offset * sum));
      if (packed.dst != DType::i32) factors[o] = parameters.factors[static_cast<size_t>(channel)];
    }
  }
  return packed;
}

SumRange sum_range(const View& view, const IntegerParameters& parameters, int64_t channel) {
  const Weights weights(view, parameters);
  int64_t positive = 0, negative = 0;
  for (int64_t i = 0; i < view.shape[1]; ++i) {
    const int w = weights.at(channel, i);
    (w > 0 ? positive : negative) += w;
  }
  const bool has_sign = parameters.src == DType::i8;
  const int64_t low = (has_sign ? -128 : 0) - parameters.src_zero, high = (has_sign ? 127 : 255) - parameters.src_zero;
  const int64_t bias = parameters.bias[static_cast<size_t>(channel)];
  return {bias + positive * low + negative * high, bias + positive * high + negative * low};
}

}  // namespace pointwise
