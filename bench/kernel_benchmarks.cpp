// Registers the benchmarks kernel/<row>/k:<input channels>. Each times one kernel call on a block that stays in L1,
// without packing, plan or threads.
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "base/numbers.h"
#include "bench.h"
#include "convolution/reference.h"
#include "kernels/registry.h"
#include "machine/cpu.h"
#include "machine/machine.h"
#include "measure/peak.h"
#include "product/packing.h"

namespace pointwise_bench {
namespace {

using namespace pointwise;

// The arrays of a block of two tiles. With two tiles, the time includes the loop over tiles. x and y are contiguous
// along the lanes.
template <class T>
struct KernelCase {
  int64_t pixels, channels, input_channels;
  std::vector<T> weights, bias, x, y;
  PackedWeights packed;
  AlignedBytes room;
  Block block{};

  KernelCase(const KernelRow& row, int64_t k) : input_channels(k) {
    const bool channel_rows = row.rows == Rows::channels;
    // Kernel rows that read contiguous channels, but have tiles of output channels, are for few output channels.
    const bool few_outputs = channel_rows && row.reads == Reads::channels;
    const bool pixels_contiguous = channel_rows && !few_outputs;  // in x
    const int64_t vectors = int64_t{row.nr} * row.lanes;
    pixels = channel_rows ? vectors : 2 * row.mr;
    channels = channel_rows ? (few_outputs ? 1 : 2) * row.mr : vectors;
    Random random;
    const auto fill = [&random](std::vector<T>* array, int64_t count) {
      array->resize(count);
      for (T& v : *array) v = static_cast<T>(random.integer(4));
    };
    fill(&weights, channels * k);
    fill(&bias, channels);
    fill(&x, pixels * k);
    y.resize(pixels * channels);
    Options options;
    options.dtype = dtype();
    options.activation = Activation::relu();
    const View bias_view(bias.data(), dtype(), {channels});
    packed = pack_weights(View(weights.data(), dtype(), {channels, k}), &bias_view, options);

    constexpr ptrdiff_t item = sizeof(T);
    block.pixels = pixels;
    block.channels = channels;
    block.input_channels = k;
    block.x = reinterpret_cast<const char*>(x.data());
    block.x_pixel = pixels_contiguous ? item : k * item;
    block.x_channel = pixels_contiguous ? pixels * item : item;
    if (row.room != nullptr) {
      const Problem problem{channels,  pixels,  k,      static_cast<int>(item), row.lanes, 0, true,
                            machine(), nullptr, nullptr};
      block.room_bytes = row.room(problem, l2_cache_size());
      room = allocate_aligned(block.room_bytes);
      block.room = room.get();
    }
    block.weights = packed.weights(0);
    block.panel = k * 64;
    block.bias = packed.bias(0);
    block.y = reinterpret_cast<char*>(y.data());
    block.y_pixel = channel_rows ? item : channels * item;
    block.y_channel = channel_rows ? pixels * item : item;
    block.epilogue = packed.epilogue;
  }

  static DType dtype() { return sizeof(T) == 4 ? DType::f32 : DType::f64; }

  // Returns true if the result equals the reference. The reference is exact, because the numbers are small integers.
  bool right(const KernelRow& row) {
    row.run(block);
    std::vector<T> expected(y.size());
    Options options;
    options.layout = "NC";
    options.dtype = dtype();
    options.activation = Activation::relu();
    const View weights_view(weights.data(), dtype(), {channels, input_channels}),
        bias_view(bias.data(), dtype(), {channels});
    View src(x.data(), dtype(), {pixels, input_channels}), dst(expected.data(), dtype(), {pixels, channels});
    src.strides = {block.x_pixel, block.x_channel};
    dst.strides = {block.y_pixel, block.y_channel};
    reference(weights_view, &bias_view, options, src, dst, nullptr);
    return std::memcmp(y.data(), expected.data(), y.size() * sizeof(T)) == 0;
  }
};

// The arrays of a block of two tiles for kernels that multiply steps of 4 bytes: pairs of bfloat16 or int16, or four
// 8-bit integers. x has the layout of packed pixels.
struct StepCase {
  static constexpr int64_t width = panel_width<int32_t>();  // output channels of a panel

  Types types;
  int64_t pixels, channels, steps, in_step;
  AlignedBytes weights, bias, x, y;
  std::vector<int> x_numbers, weight_numbers;  // [pixel][input channel], [output channel][input channel]
  Block block{};

  StepCase(const KernelRow& row, int64_t k)
      : types(row.types), steps(k * item_size(types.w) / step_bytes), in_step(step_bytes / item_size(types.w)) {
    const bool channel_rows = row.rows == Rows::channels;
    const int64_t vectors = int64_t{row.nr} * row.lanes;
    pixels = channel_rows ? vectors : 2 * row.mr;
    channels = channel_rows ? 2 * row.mr : vectors;
    const int64_t panels = (channels + width - 1) / width;
    weights = zeros(panels * steps * 64);
    bias = zeros(panels * 64);
    x = zeros(pixels * steps * step_bytes);
    y = zeros(pixels * channels * step_bytes);
    block.pixels = pixels;
    block.channels = channels;
    block.input_channels = steps;
    block.x = x.get();
    block.x_pixel = channel_rows ? step_bytes : steps * step_bytes;
    block.x_channel = channel_rows ? pixels * step_bytes : step_bytes;
    block.weights = weights.get();
    block.panel = steps * 64;
    block.bias = bias.get();
    block.y = y.get();
    block.y_pixel = channel_rows ? step_bytes : channels * step_bytes;
    block.y_channel = channel_rows ? pixels * step_bytes : step_bytes;
    if (types.sum == DType::i32)
      block.epilogue.floor = Number::of(std::numeric_limits<int32_t>::min());
    else
      block.epilogue = no_epilogue(DType::f32);
    Random random;
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t i = 0; i < k; ++i) {
        x_numbers.push_back(types.x == DType::u8 ? random.integer(4) + 4 : random.integer(4));
        write_number(types.x, x.get() + p * block.x_pixel + i / in_step * block.x_channel + at(i), x_numbers.back());
      }
    for (int64_t o = 0; o < channels; ++o)
      for (int64_t i = 0; i < k; ++i) {
        weight_numbers.push_back(random.integer(4));
        char* const step = weights.get() + (o / width * steps + i / in_step) * 64 + o % width * step_bytes;
        write_number(types.w, step + at(i), weight_numbers.back());
      }
  }

  static AlignedBytes zeros(int64_t bytes) {
    AlignedBytes memory = allocate_aligned(bytes);
    std::memset(memory.get(), 0, static_cast<size_t>(bytes));
    return memory;
  }
  // Returns the offset of an input channel in its step.
  ptrdiff_t at(int64_t i) const { return i % in_step * item_size(types.w); }

  // Returns true if the sums are right. They are exact, because the numbers are small integers.
  bool right(const KernelRow& row) {
    row.run(block);
    const int64_t k = steps * in_step;
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t o = 0; o < channels; ++o) {
        int sum = 0;
        for (int64_t i = 0; i < k; ++i)
          sum += x_numbers[static_cast<size_t>(p * k + i)] * weight_numbers[static_cast<size_t>(o * k + i)];
        if (read_number(types.sum, block.y + p * block.y_pixel + o * block.y_channel) != sum) return false;
      }
    return true;
  }
};

void run_steps(benchmark::State& state, const KernelRow& row, double peak) {
  StepCase kernel(row, state.range(0));
  if (!kernel.right(row)) {
    state.SkipWithError("wrong result");
    return;
  }
  time_flops(state, 1, 2.0 * kernel.pixels * kernel.channels * state.range(0), peak, [&] { row.run(kernel.block); });
}

template <class T>
void run_kernel(benchmark::State& state, const KernelRow& row, double peak) {
  KernelCase<T> kernel(row, state.range(0));
  if (!kernel.right(row)) {
    state.SkipWithError("wrong result");
    return;
  }
  time_flops(state, 1, 2.0 * kernel.pixels * kernel.channels * kernel.input_channels, peak,
             [&] { row.run(kernel.block); });
}

// Returns the FMA peak of an instruction set, measured when the first of its benchmarks runs.
double peak_of(const KernelTable& table) {
  static std::vector<std::pair<const void*, double>> known;
  for (const auto& [key, peak] : known)
    if (key == &table) return peak;
  known.emplace_back(&table, fma_peak(table.fma_loop, 1, 9));
  return known.back().second;
}

template <class T>
void register_table(const KernelTable& table) {
  for (int i = 0; i < table.rows.count; ++i) {
    const KernelRow& row = table.rows[i];
    // Leaves out kernel rows that compute no product of several channels, or read x of another dtype.
    if (row.reads == Reads::own || row.types.x != row.types.sum) continue;
    const auto run = [&row, &table](benchmark::State& state) { run_kernel<T>(state, row, peak_of(table)); };
    benchmark::RegisterBenchmark((std::string("kernel/") + row.name).c_str(), run)->ArgName("k")->Arg(64);
  }
}

void register_steps(const KernelRow& row, const KernelTable& floats) {
  if (row.run == nullptr) return;
  const auto run = [&row, &floats](benchmark::State& state) { run_steps(state, row, peak_of(floats)); };
  benchmark::RegisterBenchmark((std::string("kernel/") + row.name).c_str(), run)->ArgName("k")->Arg(64);
}

}  // namespace

void register_kernels() {
  std::set<const IntegerKernels*> known;  // instruction sets may share their integer kernels
  for (const Isa& isa : all_isas()) {
    if (!isa.supported()) continue;
    if (std::string(isa.name) == isa.floating) {
      register_table<float>(isa.kernels(DType::f32));
      register_table<double>(isa.kernels(DType::f64));
    }
    if (isa.bf16 != nullptr)
      for (const KernelRow& row : isa.bf16->rows)
        if (row.reads != Reads::own && row.types.x == DType::bf16) register_steps(row, *isa.f32);
    if (known.insert(isa.integers).second)
      for (const Step step : {Step::bytes, Step::words})
        for (const KernelRow* row : {&isa.integers->of(step).channels, &isa.integers->of(step).pixels})
          register_steps(*row, *isa.f32);
  }
}

}  // namespace pointwise_bench
