#include "product/packing.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "base/checked.h"
#include "base/float_environment.h"
#include "kernels/registry.h"

namespace pointwise {

template <class T>
const T* PackedWeights<T>::weights(int64_t group) const {
  return reinterpret_cast<const T*>(memory.get()) + group * panels * panel_width<T>() * input_channels;
}

template <class T>
const T* PackedWeights<T>::bias(int64_t group) const {
  const int64_t behind =
      borrowed ? 0 : groups * panels * panel_width<T>() * input_channels;  // the last group's weights
  return reinterpret_cast<const T*>(memory.get()) + behind + group * panels * panel_width<T>();
}

namespace {

// One panel of `used` output channels from `first` on.
template <class T>
void pack_panel(const View& weights, int64_t first, int64_t used, T* to) {
  constexpr int64_t width = panel_width<T>();
  const int64_t input_channels = weights.shape[1];
  if (input_channels == 0) return;  // an array without elements may have any strides
  const char* from = static_cast<const char*>(weights.data) + first * weights.strides[0];
  if (weights.strides[1] == static_cast<int64_t>(sizeof(T))) {
    kernels<T>().pack_weights(from, weights.strides[0], used, input_channels, to);
    return;
  }
  // A block of input channels at a time: a line of each row of weights is read whole. (One input channel at a time,
  // rows a power of two apart throw each other out of L1: three times as slow.)
  for (int64_t first_input = 0; first_input < input_channels; first_input += width) {
    const int64_t inputs = std::min(width, input_channels - first_input);
    if (used < width) std::fill(to, to + inputs * width, T{0});
    for (int64_t o = 0; o < used; ++o) {
      const char* row = from + o * weights.strides[0] + first_input * weights.strides[1];
      for (int64_t i = 0; i < inputs; ++i) std::memcpy(to + i * width + o, row + i * weights.strides[1], sizeof(T));
    }
    to += inputs * width;
  }
}

// Everything but the panels.
template <class T>
PackedWeights<T> prepare(const View& weights, const View* bias, int64_t groups, bool borrowed) {
  constexpr int64_t width = panel_width<T>();
  PackedWeights<T> packed{};
  packed.channels = weights.shape[0] / groups;
  packed.groups = packed.channels > 0 ? groups : 0;  // there may be any number of groups without channels
  packed.input_channels = weights.shape[1];
  packed.panels = ceil_div(packed.channels, width);
  packed.borrowed = borrowed;
  int64_t columns = borrowed ? 0 : packed.input_channels;  // and one of bias
  if (!checked_add(columns, 1, &columns)) throw std::bad_alloc();
  int64_t numbers = allocation_size(packed.panels, width);
  numbers = allocation_size(allocation_size(numbers, columns), packed.groups);
  packed.memory = allocate_aligned(allocation_size(numbers, sizeof(T)));
  for (int64_t group = 0; group < packed.groups; ++group) {
    T* to = const_cast<T*>(packed.bias(group));
    std::fill(to, to + packed.panels * width, T{0});
    if (bias == nullptr) continue;
    const char* from = static_cast<const char*>(bias->data) + group * packed.channels * bias->strides[0];
    for (int64_t o = 0; o < packed.channels; ++o) std::memcpy(to + o, from + o * bias->strides[0], sizeof(T));
  }
  return packed;
}

}  // namespace

template <class T>
PackedWeights<T> pack_weights(const View& weights, const View* bias, int64_t groups) {
  PackedWeights<T> packed = prepare<T>(weights, bias, groups, false);
  constexpr int64_t width = panel_width<T>();
  for (int64_t group = 0; group < packed.groups; ++group)
    for (int64_t channel = 0; channel < packed.channels; channel += width)
      pack_panel(weights, group * packed.channels + channel, std::min(width, packed.channels - channel),
                 const_cast<T*>(packed.weights(group)) + channel * packed.input_channels);
  return packed;
}

template <class T>
PackedWeights<T> borrow_weights(const View& weights, const View* bias, int64_t groups) {
  PackedWeights<T> borrowed = prepare<T>(weights, bias, groups, true);
  borrowed.given = weights;
  return borrowed;
}

template <class T>
PackedWeights<T> pack_borrowed(const PackedWeights<T>& borrowed) {
  PackedWeights<T> packed = pack_weights<T>(borrowed.given, nullptr, std::max<int64_t>(borrowed.groups, 1));
  for (int64_t group = 0; group < packed.groups; ++group)
    std::copy(borrowed.bias(group), borrowed.bias(group) + packed.channels, const_cast<T*>(packed.bias(group)));
  packed.epilogue = borrowed.epilogue;
  packed.flush_subnormals = borrowed.flush_subnormals;
  return packed;
}

template <class T>
void pack_panels(const PackedWeights<T>& borrowed, int64_t group, int64_t channel, int64_t channels, T* to) {
  constexpr int64_t width = panel_width<T>();
  for (int64_t o = 0; o < channels; o += width)
    pack_panel(borrowed.given, group * borrowed.channels + channel + o, std::min(width, channels - o),
               to + o * borrowed.input_channels);
}

namespace {

// What a layer that flushes subnormals takes a bias for, which no arithmetic need touch: where no input channel is read
// it is the result. In the default floating-point state.
template <class T>
T flushed(T v) {
  return FloatEnvironment::can_flush && std::abs(v) < std::numeric_limits<T>::min() ? std::copysign(T{0}, v) : v;
}

}  // namespace

template <class T>
Epilogue<T> epilogue_of(const Activation& activation) {
  const FloatEnvironment environment;
  Epilogue<T> epilogue{};
  epilogue.floor = activation.kind == Activation::Kind::relu ? T{0} : -std::numeric_limits<T>::infinity();
  epilogue.activate = kernels<T>().activations[static_cast<int>(activation.kind)];
  switch (activation.kind) {
    case Activation::Kind::relu6:
    case Activation::Kind::clip: epilogue.in_registers = Inline::clip; break;
    case Activation::Kind::leaky_relu: epilogue.in_registers = Inline::leaky_relu; break;
    case Activation::Kind::hardswish: epilogue.in_registers = Inline::hardswish; break;
    default: epilogue.in_registers = Inline::no;
  }
  epilogue.parameters[0] = static_cast<T>(activation.a);
  epilogue.parameters[1] = static_cast<T>(activation.kind == Activation::Kind::relu6 ? 6 : activation.b);
  return epilogue;
}

namespace {

template <class T>
PackedWeights<T> with_options(PackedWeights<T> packed, const Options& options) {
  const FloatEnvironment environment;
  packed.epilogue = epilogue_of<T>(options.activation);
  packed.flush_subnormals = options.flush_subnormals;
  for (int64_t group = 0; options.flush_subnormals && group < packed.groups; ++group) {
    T* bias = const_cast<T*>(packed.bias(group));
    std::transform(bias, bias + packed.channels, bias, flushed<T>);
  }
  return packed;
}

}  // namespace

Weights pack_weights(const View& weights, const View* bias, const Options& options) {
  if (options.dtype == DType::f32) return with_options(pack_weights<float>(weights, bias, options.groups), options);
  return with_options(pack_weights<double>(weights, bias, options.groups), options);
}

Weights borrow_weights(const View& weights, const View* bias, const Options& options) {
  if (options.dtype == DType::f32) return with_options(borrow_weights<float>(weights, bias, options.groups), options);
  return with_options(borrow_weights<double>(weights, bias, options.groups), options);
}

template <class T>
void unpack_weights(const PackedWeights<T>& packed, T* to) {
  constexpr int64_t width = panel_width<T>();
  if (packed.borrowed) {
    for (int64_t o = 0; o < packed.given.shape[0]; ++o)
      for (int64_t i = 0; i < packed.input_channels; ++i)
        std::memcpy(
            to++,
            static_cast<const char*>(packed.given.data) + o * packed.given.strides[0] + i * packed.given.strides[1],
            sizeof(T));
    return;
  }
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

template Epilogue<float> epilogue_of(const Activation&);
template Epilogue<double> epilogue_of(const Activation&);
template struct PackedWeights<float>;
template struct PackedWeights<double>;
template PackedWeights<float> pack_weights(const View&, const View*, int64_t);
template PackedWeights<float> borrow_weights(const View&, const View*, int64_t);
template PackedWeights<float> pack_borrowed(const PackedWeights<float>&);
template void pack_panels(const PackedWeights<float>&, int64_t, int64_t, int64_t, float*);
template PackedWeights<double> pack_weights(const View&, const View*, int64_t);
template PackedWeights<double> borrow_weights(const View&, const View*, int64_t);
template PackedWeights<double> pack_borrowed(const PackedWeights<double>&);
template void pack_panels(const PackedWeights<double>&, int64_t, int64_t, int64_t, double*);
template void unpack_weights(const PackedWeights<float>&, float*);
template void unpack_weights(const PackedWeights<double>&, double*);
template void unpack_bias(const PackedWeights<float>&, float*);
template void unpack_bias(const PackedWeights<double>&, double*);

}  // namespace pointwise
