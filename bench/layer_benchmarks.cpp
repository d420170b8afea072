// Registers the benchmarks layer/<network>/<layer>/<layout>[/<dtype>]. Each times a layer with bias and relu, on the
// same arrays in every call. Without a dtype it is float32. uint8 stands for src of uint8 and weights of float32, int8
// for a QuantizedLayer.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "base/numbers.h"
#include "bench.h"
#include "convolution/reference.h"
#include "layer_table.h"
#include "measure/peak.h"

namespace pointwise_bench {
namespace {

using namespace pointwise;

// The dtypes of a layer. Weights of i8 are those of a QuantizedLayer.
struct LayerTypes {
  const char* name;
  DType src, weights, bias, dst;
};
constexpr LayerTypes all_types[] = {
    {"float32", DType::f32, DType::f32, DType::f32, DType::f32},
    {"float64", DType::f64, DType::f64, DType::f64, DType::f64},
    {"float16", DType::f16, DType::f16, DType::f32, DType::f16},
    {"bfloat16", DType::bf16, DType::bf16, DType::f32, DType::bf16},
    {"uint8", DType::u8, DType::f32, DType::f32, DType::f32},
    {"int8", DType::u8, DType::i8, DType::i32, DType::u8},
};

// Returns the significant bits of a floating dtype.
int bits_of(DType dtype) { return dtype == DType::f64 ? 53 : dtype == DType::f32 ? 24 : dtype == DType::f16 ? 11 : 8; }

std::vector<char> random_numbers(DType dtype, int64_t count, Random* random) {
  std::vector<char> numbers(static_cast<size_t>(count * item_size(dtype)));
  for (int64_t i = 0; i < count; ++i) {
    const double number = dtype == DType::u8  ? random->integer(127) + 128
                          : is_integer(dtype) ? random->integer(127)
                                              : random->real();
    write_number(dtype, &numbers[static_cast<size_t>(i * item_size(dtype))], number);
  }
  return numbers;
}

int64_t elements(const Shape& shape) {
  int64_t n = 1;
  for (int i = 0; i < shape.rank; ++i) n *= shape[i];
  return n;
}

struct LayerCase {
  LayerTypes types;
  Options options;
  Shape src_shape, dst_shape;
  Cost cost;
  std::vector<char> weights, bias, src, dst;
  View weights_view, bias_view, src_view, dst_view;
  std::unique_ptr<Layer> layer;
  Quantization quantization;
  std::unique_ptr<QuantizedLayer> quantized;  // in place of `layer`, if weights are i8

  LayerCase(const TableRow& row, const std::string& layout, const LayerTypes& of) : types(of) {
    options.layout = layout;
    options.stride = {row.stride};
    options.groups = row.groups;
    options.activation = Activation::relu();
    options.dtype = is_quantized() ? DType::f32 : types.weights;
    src_shape = layout == "NCHW" ? Shape{row.n, row.c_in, row.height, row.width}
                                 : Shape{row.n, row.height, row.width, row.c_in};
    cost = pointwise::cost(src_shape, row.c_out, options, true);
    dst_shape = cost.output_shape;
    Random random;
    const int64_t inputs = row.c_in / row.groups;
    weights = random_numbers(types.weights, row.c_out * inputs, &random);
    bias = random_numbers(types.bias, row.c_out, &random);
    src = random_numbers(types.src, elements(src_shape), &random);
    dst.resize(static_cast<size_t>(elements(dst_shape) * item_size(types.dst)));
    std::memset(dst.data(), 0xff, dst.size());  // NaN in floating dtypes
    weights_view = View(weights.data(), types.weights, {row.c_out, inputs});
    bias_view = View(bias.data(), types.bias, {row.c_out});
    src_view = View(src.data(), types.src, src_shape);
    dst_view = View(dst.data(), types.dst, dst_shape);
    if (!is_quantized()) {
      layer = std::make_unique<Layer>(weights_view, &bias_view, options);
      return;
    }
    quantization.src = types.src;
    quantization.dst = types.dst;
    quantization.dst_scale = static_cast<float>(100 * std::sqrt(static_cast<double>(inputs)));
    quantized = std::make_unique<QuantizedLayer>(weights_view, &bias_view, options, quantization);
  }

  bool is_quantized() const { return types.weights == DType::i8; }

  void call(int threads) const {
    if (is_quantized())
      (*quantized)(src_view, dst_view, threads);
    else
      (*layer)(src_view, dst_view, nullptr, threads);
  }

  // Returns true if results are within the documented error bound, or exact for a QuantizedLayer. Checks all pixels of
  // every `step`-th output channel, because the reference is slow. `step` is odd, so that all lanes of a panel are
  // checked.
  bool right() const {
    constexpr int64_t enough = 20'000'000;  // multiply-adds
    const int64_t c_out = weights_view.shape[0], inputs = weights_view.shape[1];
    const int64_t step = options.groups > 1 ? 1 : (cost.macs / enough) | 1;
    const int64_t channels = (c_out + step - 1) / step;
    const size_t axis = options.layout.find('C');
    View some_weights = weights_view, some_bias = bias_view;
    some_weights.shape[0] = some_bias.shape[0] = channels;
    some_weights.strides[0] *= step;
    some_bias.strides[0] *= step;
    Shape shape = dst_shape;
    shape[axis] = channels;
    std::vector<double> expected(static_cast<size_t>(elements(shape))), magnitude(expected.size());
    reference(some_weights, &some_bias, options, src_view, View(expected.data(), DType::f64, shape), nullptr,
              magnitude.data());
    const DType sum = info(types.weights).sum;
    const double u = std::ldexp(1, -bits_of(sum)), n = static_cast<double>(inputs + 2), gamma = n * u / (1 - n * u);
    const double last = std::ldexp(1, -bits_of(types.dst)), tiny = (n + 1) * smallest_normal(types.dst);
    const float factor = quantization.src_scale * quantization.weight_scales[0] / quantization.dst_scale;
    int64_t inner = 1;  // number of elements from one channel to the next
    for (int i = static_cast<int>(axis) + 1; i < shape.rank; ++i) inner *= shape[i];
    for (int64_t e = 0; e < static_cast<int64_t>(expected.size()); ++e) {
      const int64_t within = e % inner, channel = e / inner % channels, outer = e / inner / channels;
      const int64_t at = (outer * c_out + channel * step) * inner + within;
      const double got = read_number(types.dst, &dst[static_cast<size_t>(at * item_size(types.dst))]);
      const double want = expected[static_cast<size_t>(e)], size = magnitude[static_cast<size_t>(e)];
      if (is_quantized()) {
        const float scaled = std::nearbyint(static_cast<float>(want) * factor);
        if (got != std::min(scaled, 255.0f)) return false;
        continue;
      }
      // The negated comparison is true for NaN, too.
      const double bound = gamma * size + tiny;
      if (!(std::fabs(got - want) <= bound + last * (std::fabs(want) + bound))) return false;
    }
    return true;
  }
};

// Checks and times a layer. Google Benchmark calls this function several times for each layer. `verified` holds the
// layers that were already checked.
void run_layer(benchmark::State& state, const TableRow& row, const std::string& layout, const LayerTypes& types,
               int threads, double peak, std::set<std::string>* verified) {
  LayerCase layer(row, layout, types);
  const auto call = [&] { layer.call(threads); };
  call();
  const std::string name = row.network + "/" + row.layer + "/" + layout + "/" + types.name;
  if (verified->count(name) == 0) {
    if (!layer.right()) {
      state.SkipWithError("wrong result");
      return;
    }
    verified->insert(name);
  }
  time_flops(state, threads, static_cast<double>(layer.cost.flops), peak, call);
}

}  // namespace

void register_layers(const Settings& settings) {
  static std::set<std::string> verified;
  const int threads = settings.threads;
  const double float32_peak = fma_peak(DType::f32, threads, 9), float64_peak = fma_peak(DType::f64, threads, 9);
  const auto words = [](double peak) { return std::to_string(static_cast<int64_t>(peak / 1e9)) + " GFLOP/s"; };
  benchmark::AddCustomContext("FMA peak, float32", words(float32_peak));
  benchmark::AddCustomContext("FMA peak, float64", words(float64_peak));
  for (const TableRow& row : read_layer_tables(settings.layers))
    for (const std::string layout : {"NCHW", "NHWC"})
      for (const LayerTypes& types : all_types) {
        const double peak = types.weights == DType::f64 ? float64_peak : float32_peak;
        const auto run = [row, layout, &types, threads, peak](benchmark::State& state) {
          run_layer(state, row, layout, types, threads, peak, &verified);
        };
        const std::string suffix =
            types.weights == DType::f32 && types.src == DType::f32 ? "" : "/" + std::string(types.name);
        benchmark::RegisterBenchmark(("layer/" + row.network + "/" + row.layer + "/" + layout + suffix).c_str(), run)
            ->Unit(benchmark::kMicrosecond);
      }
}

}  // namespace pointwise_bench
