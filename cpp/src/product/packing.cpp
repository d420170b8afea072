#include "product/packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/numbers.h"
#include "kernels/registry.h"

namespace pointwise {
namespace {

// Rounds a value to the dtype.
Number number_of(double value, DType dtype) {
  Number number{};
  write_number(dtype, number.bytes, value);
  return number;
}

void copy_number(char* to, const void* from, int item) {
  item == 4 ? std::memcpy(to, from, 4) : item == 8 ? std::memcpy(to, from, 8) : std::memcpy(to, from, 2);
}

// Packs one panel: `used` output channels, beginning with the output channel `first`. can_pack() must be true.
void pack_panel(const View& weights, DType dtype, int64_t first, int64_t used, char* to) {
  const int item = item_size(dtype);
  const int64_t width = panel_bytes / item_size(info(dtype).sum), input_channels = weights.shape[1];
  if (input_channels == 0) return;  // returns early, because an array without elements may have any strides
  const char* from = static_cast<const char*>(weights.data) + first * weights.strides[0];
  if (weights.strides[1] == item) {
    kernels(dtype).pack_weights(from, weights.strides[0], used, input_channels, to);
    return;
  }
  // Packs `width` input channels at a time, to read whole cache lines of weights. With one input channel at a time,
  // output channels that are a power of two bytes apart would evict each other from L1.
  for (int64_t first_input = 0; first_input < input_channels; first_input += width) {
    const int64_t inputs = std::min(width, input_channels - first_input);
    if (used < width) std::memset(to, 0, static_cast<size_t>(inputs * panel_bytes));
    for (int64_t o = 0; o < used; ++o) {
      const char* row = from + o * weights.strides[0] + first_input * weights.strides[1];
      for (int64_t i = 0; i < inputs; ++i)
        copy_number(to + i * panel_bytes + o * item, row + i * weights.strides[1], item);
    }
    to += inputs * panel_bytes;
  }
}

// Number of input channels of transposed weights that are packed together. Whole panels at a time would read few bytes
// of many pages.
constexpr int64_t rows_together = 32;

// Packs `channels` output channels into panels that are `panel` bytes apart. The first output channel is `first`.
// can_pack() must be true.
void pack_channels(const View& weights, DType dtype, int64_t first, int64_t channels, char* to, ptrdiff_t panel) {
  const int item = item_size(dtype);
  const int64_t width = panel_bytes / item_size(info(dtype).sum), inputs = weights.shape[1];
  if (weights.strides[0] != item || weights.strides[1] == item || inputs == 0) {
    for (int64_t o = 0; o < channels; o += width)
      pack_panel(weights, dtype, first + o, std::min(width, channels - o), to + o / width * panel);
    return;
  }
  // transposed weights: the output channels of an input channel are contiguous
  const char* const from = static_cast<const char*>(weights.data) + first * item;
  for (int64_t begin = 0; begin < inputs; begin += rows_together)
    for (int64_t o = 0; o < channels; o += width)
      for (int64_t i = begin; i < std::min(inputs, begin + rows_together); ++i) {
        const char* const row = from + i * weights.strides[1] + o * item;
        char* const at = to + o / width * panel + i * panel_bytes;
        if (channels - o >= width) {
          std::memcpy(at, row, panel_bytes);
        } else {
          std::memset(at, 0, panel_bytes);
          std::memcpy(at, row, static_cast<size_t>((channels - o) * item));
        }
      }
}

// Replaces the subnormals of a bias by zeros. The flush mode of the CPU acts only on arithmetic. Without input channels
// there is no arithmetic: the bias itself is the result.
void flush_subnormals(char* numbers, int64_t count, DType dtype) {
  if (!FloatEnvironment::can_flush) return;
  for (char* const end = numbers + count * item_size(dtype); numbers < end; numbers += item_size(dtype)) {
    const double v = read_number(dtype, numbers);
    if (std::abs(v) < smallest_normal(dtype)) write_number(dtype, numbers, std::copysign(0.0, v));
  }
}

// Returns true if panels can be packed from weights of this dtype and these strides.
bool can_pack(const View& weights, DType packed) {
  return weights.dtype == packed && (kernels(packed).step == 1 || weights.strides[1] == item_size(packed));
}

// Returns a C-contiguous copy of weights of a 16-bit type, as numbers of the dtype `packed`. If `packed` is another
// dtype than that of the weights, the copy has the input channels in the order in which sums add them.
AlignedBytes copy_weights(const View& weights, DType packed) {
  const FloatEnvironment environment;
  const int64_t m = weights.shape[0], k = weights.shape[1];
  const ptrdiff_t item = item_size(packed), x_item = item_size(weights.dtype);
  AlignedBytes memory = allocate_aligned(allocation_size(allocation_size(m, k), item));
  if (m == 0 || k == 0) return memory;  // an array without elements may have any strides
  const bool swapped = sums_pairs(weights.dtype) && weights.dtype != packed;
  const PackTable& pack = kernels(info(packed).sum).pack;
  const auto run = swapped ? pack.pairs.run : pack[weights.dtype].run;
  char* to = memory.get();
  for (int64_t o = 0; o < m; ++o, to += k * item) {
    const char* const row = static_cast<const char*>(weights.data) + o * weights.strides[0];
    if (weights.strides[1] == x_item) {
      run(row, k, to);
      continue;
    }
    for (int64_t i = 0; i < k; ++i) {
      const char* const from = row + i * weights.strides[1];
      char* const number = to + (swapped ? place_in_pairs(i, k) : i) * item;
      weights.dtype == packed ? copy_number(number, from, item_size(packed)) : pack[weights.dtype].run(from, 1, number);
    }
  }
  return memory;
}
// Serves as the bias of borrowed weights if the layer has no bias. Allocating zeros in each call would take as long as
// the product of a few pixels.
constexpr int64_t zeros_bytes = 4096;
alignas(64) const char zeros[zeros_bytes]{};

// Prepares everything except the contents of the panels.
PackedWeights prepare(const View& weights, const View* bias, DType dtype, int64_t groups, bool borrowed) {
  PackedWeights packed{};
  packed.dtype = dtype;
  packed.sum = info(dtype).sum;
  packed.item = item_size(packed.sum);
  packed.width = panel_bytes / packed.item;
  packed.m = weights.shape[0] / groups;
  packed.groups = packed.m > 0 ? groups : 0;  // without output channels, any number of groups is valid
  packed.k = weights.shape[1];
  packed.steps = ceil_div(packed.k, kernels(dtype).step);
  packed.panels = ceil_div(packed.m, packed.width);
  packed.borrowed = borrowed;
  if (borrowed && bias == nullptr && packed.panels <= zeros_bytes / panel_bytes) return packed;
  const int64_t all = allocation_size(packed.panels, packed.groups);  // panels of all groups
  const int64_t weight_bytes = borrowed ? 0 : allocation_size(allocation_size(all, packed.steps), packed.panel_row());
  int64_t rows = all;  // biases, and for int8 weights also scales and zeros
  if (packed.quantized()) rows = allocation_sum(allocation_sum(all, all), packed.panels);
  packed.memory =
      allocate_aligned(allocation_sum(round_up(weight_bytes, panel_bytes), allocation_size(rows, panel_bytes)));
  if (packed.quantized() && packed.groups > 0)
    std::memset(packed.no_bias(), 0, static_cast<size_t>(packed.panels * panel_bytes));
  for (int64_t group = 0; group < packed.groups; ++group) {
    char* to = packed.bias(group);
    std::memset(to, 0, static_cast<size_t>(packed.panels * panel_bytes));
    if (bias == nullptr) continue;
    const char* from = static_cast<const char*>(bias->data) + group * packed.m * bias->strides[0];
    for (int64_t o = 0; o < packed.m; ++o) copy_number(to + o * packed.item, from + o * bias->strides[0], packed.item);
  }
  return packed;
}

// Packs int8 weights and their scales.
void pack_quantized(const View& weights, const std::vector<float>& scales, PackedWeights* packed) {
  char* to = packed->weights(0);
  for (int64_t group = 0; group < packed->groups; ++group) {
    const int64_t first = group * packed->m;
    char* const group_scales = packed->scales(group);
    std::memset(group_scales, 0, static_cast<size_t>(packed->panels * panel_bytes));
    if (packed->m > 0) std::memcpy(group_scales, scales.data() + first, static_cast<size_t>(packed->m) * sizeof(float));
    for (int64_t channel = 0; channel < packed->m; channel += packed->width) {
      const int64_t used = std::min<int64_t>(packed->width, packed->m - channel);
      const char* from = static_cast<const char*>(weights.data) + (first + channel) * weights.strides[0];
      for (int64_t i = 0; i < packed->k; ++i, from += weights.strides[1], to += packed->width) {
        std::memset(to, 0, static_cast<size_t>(packed->width));
        for (int64_t o = 0; o < used; ++o) to[o] = from[o * weights.strides[0]];
      }
    }
  }
}

void pack_all(const View& weights, PackedWeights* packed) {
  for (int64_t group = 0; group < packed->groups; ++group)
    pack_channels(weights, packed->dtype, group * packed->m, packed->m, packed->weights(group),
                  packed->steps * panel_bytes);
}

void take_options(const Options& options, PackedWeights* packed) {
  if (options.activation.kind == Activation::Kind::prelu) {
    const FloatEnvironment environment;
    const std::vector<double>& slopes = options.activation.slopes;
    packed->slopes = allocate_aligned(allocation_size(static_cast<int64_t>(slopes.size()), packed->item));
    char* to = packed->slopes.get();
    for (const double slope : slopes) {
      write_number(packed->sum, to, slope);
      to += packed->item;
    }
  }
  packed->epilogue = epilogue_of(options.activation, packed->sum);
  packed->swapped = sums_pairs(options.dtype) && packed->dtype != options.dtype;
  packed->flush_subnormals = options.flush_subnormals || flushes_subnormals(options.dtype);
  if (!packed->flush_subnormals || packed->memory == nullptr) return;
  const FloatEnvironment environment;
  for (int64_t group = 0; group < packed->groups; ++group)
    flush_subnormals(packed->bias(group), packed->m, packed->sum);
}

}  // namespace

char* PackedWeights::weights(int64_t group) const { return memory.get() + group * panels * panel_row() * steps; }

char* PackedWeights::bias(int64_t group) const {
  if (memory == nullptr) return const_cast<char*>(zeros);  // is only read
  // Biases follow all weights.
  const int64_t behind = borrowed ? 0 : round_up(groups * panels * panel_row() * steps, panel_bytes);
  return memory.get() + behind + group * panels * panel_bytes;
}

DType packed_dtype(const Options& options, int64_t k) {
  return options.weight_dtype.value_or(selected_isa().packed_dtype(options.dtype, k));
}

PackedWeights pack_weights(const View& weights, const View* bias, const Options& options) {
  const DType dtype = packed_dtype(options, weights.shape[1]);
  PackedWeights packed = prepare(weights, bias, dtype, options.groups, false);
  if (packed.quantized()) {
    pack_quantized(weights, options.weight_scales, &packed);
  } else if (can_pack(weights, dtype)) {
    pack_all(weights, &packed);
  } else {
    const AlignedBytes copy = copy_weights(weights, dtype);
    pack_all(View(copy.get(), dtype, weights.shape), &packed);
  }
  take_options(options, &packed);
  return packed;
}

PackedWeights borrow_weights(const View& weights, const View* bias, const Options& options) {
  const DType dtype = selected_isa().packed_dtype(options.dtype, weights.shape[1]);
  PackedWeights borrowed = prepare(weights, bias, dtype, options.groups, true);
  borrowed.given = weights;
  if (!can_pack(weights, dtype)) {
    borrowed.converted = copy_weights(weights, dtype);
    borrowed.given = View(borrowed.converted.get(), dtype, weights.shape);
  }
  take_options(options, &borrowed);
  return borrowed;
}

PackedWeights pack_borrowed(const PackedWeights& borrowed) {
  PackedWeights packed = prepare(borrowed.given, nullptr, borrowed.dtype, std::max<int64_t>(borrowed.groups, 1), false);
  pack_all(borrowed.given, &packed);
  for (int64_t group = 0; group < packed.groups; ++group)
    std::memcpy(packed.bias(group), borrowed.bias(group), static_cast<size_t>(packed.panels * panel_bytes));
  packed.epilogue = borrowed.epilogue;
  if (borrowed.slopes) {
    const int64_t bytes = allocation_size(borrowed.groups * borrowed.m, borrowed.item);
    packed.slopes = allocate_aligned(bytes);
    std::memcpy(packed.slopes.get(), borrowed.slopes.get(), static_cast<size_t>(bytes));
  }
  packed.swapped = borrowed.swapped;
  packed.flush_subnormals = borrowed.flush_subnormals;
  return packed;
}

void pack_panels(const PackedWeights& borrowed, int64_t group, int64_t channel, int64_t channels, char* to) {
  pack_channels(borrowed.given, borrowed.dtype, group * borrowed.m + channel, channels, to,
                borrowed.steps * panel_bytes);
}

Epilogue no_epilogue(DType dtype) {
  return {number_of(-std::numeric_limits<double>::infinity(), dtype), nullptr, Inline::no, {}};
}

Epilogue epilogue_of(const Activation& activation, DType dtype) {
  using Kind = Activation::Kind;
  const FloatEnvironment environment;
  Epilogue epilogue = no_epilogue(dtype);
  if (activation.kind == Kind::relu) epilogue.floor = number_of(0, dtype);
  epilogue.activate = kernels(dtype).activations[static_cast<int>(activation.kind)];
  switch (activation.kind) {
    case Kind::relu6:
    case Kind::clip: epilogue.in_registers = Inline::clip; break;
    case Kind::leaky_relu: epilogue.in_registers = Inline::leaky_relu; break;
    case Kind::hardswish: epilogue.in_registers = Inline::hardswish; break;
    default: epilogue.in_registers = Inline::no;
  }
  const bool relu6 = activation.kind == Kind::relu6;
  epilogue.parameters[0] = number_of(relu6 ? 0 : activation.a, dtype);
  epilogue.parameters[1] = number_of(relu6 ? 6 : activation.b, dtype);
  return epilogue;
}

void unpack_weights(const PackedWeights& packed, DType dtype, void* destination) {
  const FloatEnvironment environment;
  char* to = static_cast<char*>(destination);
  const int item = item_size(dtype);
  const auto store = [&](const char* from) {
    if (packed.quantized())
      *to = *from;
    else if (dtype == packed.dtype)
      copy_number(to, from, item);
    else
      write_number(dtype, to, read_number(packed.dtype, from));
    to += item;
  };
  const auto place = [&](int64_t i) { return packed.swapped ? place_in_pairs(i, packed.k) : i; };
  if (packed.borrowed) {
    const View& given = packed.given;
    for (int64_t o = 0; o < given.shape[0]; ++o)
      for (int64_t i = 0; i < packed.k; ++i)
        store(static_cast<const char*>(given.data) + o * given.strides[0] + place(i) * given.strides[1]);
    return;
  }
  for (int64_t group = 0; group < packed.groups; ++group)
    for (int64_t o = 0; o < packed.m; ++o) {
      const int64_t panel = o / packed.width;
      const int64_t step = kernels(packed.dtype).step;  // channels of a step are contiguous
      const int64_t row = packed.panel_row(), number = item_size(packed.dtype);
      const char* from = packed.weights(group) + panel * packed.steps * row + o % packed.width * step * number;
      for (int64_t i = 0; i < packed.k; ++i) store(from + place(i) / step * row + place(i) % step * number);
    }
}

void unpack_bias(const PackedWeights& packed, void* destination) {
  char* to = static_cast<char*>(destination);
  const int64_t bytes = packed.m * packed.item;
  for (int64_t group = 0; group < packed.groups; ++group, to += bytes)
    std::memcpy(to, packed.bias(group), static_cast<size_t>(bytes));
}

}  // namespace pointwise
