// Registers the benchmarks kernel/<row>/k:<input channels>. Each times one kernel call on a block that stays in L1,
// without packing, plan or threads.
#include <cstring>
#include <vector>

#include "bench.h"
#include "convolution/reference.h"
#include "kernels/registry.h"
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
  Block block{};

  KernelCase(const KernelRow& row, int64_t k) : input_channels(k) {
    const bool channel_rows = row.rows == Rows::channels;
    const int64_t vectors = int64_t{row.nr} * row.lanes;
    pixels = channel_rows ? vectors : 2 * row.mr;
    channels = channel_rows ? 2 * row.mr : vectors;
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
    block.x_pixel = channel_rows ? item : k * item;
    block.x_channel = channel_rows ? pixels * item : item;
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
    if (row.reads == Reads::own) continue;  // computes no product of several channels
    const auto run = [&row, &table](benchmark::State& state) { run_kernel<T>(state, row, peak_of(table)); };
    benchmark::RegisterBenchmark((std::string("kernel/") + row.name).c_str(), run)->ArgName("k")->Arg(64);
  }
}

}  // namespace

void register_kernels() {
  for (const Isa& isa : all_isas()) {
    if (!isa.supported() || std::string(isa.name) != isa.floating) continue;
    register_table<float>(isa.kernels(DType::f32));
    register_table<double>(isa.kernels(DType::f64));
  }
}

}  // namespace pointwise_bench
