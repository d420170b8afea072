// Registers the benchmarks layer/<network>/<layer>/<layout>. Each times a float32 layer with bias and relu, on the same
// arrays in every call.
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <vector>

#include "bench.h"
#include "convolution/reference.h"
#include "layer_table.h"
#include "measure/peak.h"

namespace pointwise_bench {
namespace {

using namespace pointwise;

std::vector<float> random_numbers(int64_t count, Random* random) {
  std::vector<float> numbers(count);
  for (float& v : numbers) v = static_cast<float>(random->real());
  return numbers;
}

int64_t elements(const Shape& shape) {
  int64_t n = 1;
  for (int i = 0; i < shape.rank; ++i) n *= shape[i];
  return n;
}

struct LayerCase {
  Options options;
  Shape src_shape, dst_shape;
  Cost cost;
  std::vector<float> weights, bias, src, dst;
  View weights_view, bias_view, src_view, dst_view;
  std::unique_ptr<Layer> layer;

  LayerCase(const TableRow& row, const std::string& layout) {
    options.layout = layout;
    options.stride = {row.stride};
    options.groups = row.groups;
    options.activation = Activation::relu();
    src_shape = layout == "NCHW" ? Shape{row.n, row.c_in, row.height, row.width}
                                 : Shape{row.n, row.height, row.width, row.c_in};
    cost = pointwise::cost(src_shape, row.c_out, options, true);
    dst_shape = cost.output_shape;
    Random random;
    const int64_t inputs = row.c_in / row.groups;
    weights = random_numbers(row.c_out * inputs, &random);
    bias = random_numbers(row.c_out, &random);
    src = random_numbers(elements(src_shape), &random);
    dst.assign(elements(dst_shape), std::numeric_limits<float>::quiet_NaN());
    weights_view = View(weights.data(), DType::f32, {row.c_out, inputs});
    bias_view = View(bias.data(), DType::f32, {row.c_out});
    src_view = View(src.data(), DType::f32, src_shape);
    dst_view = View(dst.data(), DType::f32, dst_shape);
    layer = std::make_unique<Layer>(weights_view, &bias_view, options);
  }

  // Returns true if results are within the documented error bound. Checks all pixels of every `step`-th output channel,
  // because the reference is slow. `step` is odd, so that all lanes of a panel are checked.
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
    std::vector<float> expected(elements(shape));
    std::vector<double> magnitude(expected.size());
    reference(some_weights, &some_bias, options, src_view, View(expected.data(), DType::f32, shape), nullptr,
              magnitude.data());
    const double u = std::ldexp(1, -24), n = static_cast<double>(inputs + 2), gamma = n * u / (1 - n * u);
    const double tiny = n * std::numeric_limits<float>::denorm_min();
    int64_t inner = 1;  // number of elements from one channel to the next
    for (int i = static_cast<int>(axis) + 1; i < shape.rank; ++i) inner *= shape[i];
    for (int64_t e = 0; e < static_cast<int64_t>(expected.size()); ++e) {
      const int64_t within = e % inner, channel = e / inner % channels, outer = e / inner / channels;
      const double got = dst[(outer * c_out + channel * step) * inner + within], want = expected[e];
      // The reference is rounded once. The negated comparison is true for NaN, too.
      if (!(std::fabs(got - want) <= gamma * magnitude[e] + tiny + u * std::fabs(want))) return false;
    }
    return true;
  }
};

// Checks and times a layer. Google Benchmark calls this function several times for each layer. `verified` holds the
// layers that were already checked.
void run_layer(benchmark::State& state, const TableRow& row, const std::string& layout, int threads, double peak,
               std::set<std::string>* verified) {
  LayerCase layer(row, layout);
  const auto call = [&] { (*layer.layer)(layer.src_view, layer.dst_view, nullptr, threads); };
  call();
  const std::string name = row.network + "/" + row.layer + "/" + layout;
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
  const double peak = fma_peak(DType::f32, threads, 9);
  benchmark::AddCustomContext("FMA peak, float32", std::to_string(static_cast<int64_t>(peak / 1e9)) + " GFLOP/s");
  for (const TableRow& row : read_layer_tables(settings.layers))
    for (const std::string layout : {"NCHW", "NHWC"}) {
      const auto run = [row, layout, threads, peak](benchmark::State& state) {
        run_layer(state, row, layout, threads, peak, &verified);
      };
      benchmark::RegisterBenchmark(("layer/" + row.network + "/" + row.layer + "/" + layout).c_str(), run)
          ->Unit(benchmark::kMicrosecond);
    }
}

}  // namespace pointwise_bench
