// Registers the benchmarks dx/<network>/<layer>/<layout> and dw/<network>/<layer>/<layout>. Each times a float32
// gradient of a layer, with respect to src or the weights. Also registers gram/<channels>x<pixels>/<layout>, which
// times the symmetric sum of products of a covariance. All numbers are small integers, so that the checks are exact.
#include <memory>
#include <vector>

#include "bench.h"
#include "convolution/gradients.h"
#include "layer_table.h"
#include "measure/peak.h"

namespace pointwise_bench {
namespace {

using namespace pointwise;

// A C-contiguous array of float32.
struct Array {
  std::vector<float> numbers;
  View view;

  explicit Array(const Shape& shape) {
    size_t count = 1;
    for (int i = 0; i < shape.rank; ++i) count *= static_cast<size_t>(shape[i]);
    numbers.assign(count, 0);
    view = View(numbers.data(), DType::f32, shape);
  }
  Array(const Shape& shape, Random* random) : Array(shape) {
    for (float& number : numbers) number = static_cast<float>(random->integer(2));
  }
};

double dot(const Array& a, const Array& b) {
  double sum = 0;
  for (size_t i = 0; i < a.numbers.size(); ++i) sum += static_cast<double>(a.numbers[i]) * b.numbers[i];
  return sum;
}

Shape shape_of(const TableRow& row, const std::string& layout) {
  if (layout == "NCHW") return {row.n, row.c_in, row.height, row.width};
  return {row.n, row.height, row.width, row.c_in};
}

struct Gradients {
  Options options;
  Shape src_shape;
  Cost cost;
  Random random;
  Array src, weights, grad, dx, dw;

  Gradients(const TableRow& row, const std::string& layout)
      : options(options_of(row, layout)),
        src_shape(shape_of(row, layout)),
        cost(pointwise::cost(src_shape, row.c_out, options, false)),
        src(src_shape, &random),
        weights({row.c_out, row.c_in / row.groups}, &random),
        grad(cost.output_shape, &random),
        dx(src_shape),
        dw({row.c_out, row.c_in / row.groups}) {}

  void compute_dx(int threads) { gradient_of_src(grad.view, weights.view, dx.view, options, false, threads); }
  void compute_dw(int threads) { gradient_of_weights(grad.view, src.view, dw.view, options, false, threads); }

  // Returns true if <dst, grad> = <src, dx> = <weights, dw>. The sums of integers are exact.
  bool right(int threads) {
    Array dst(cost.output_shape);
    Layer(weights.view, nullptr, options)(src.view, dst.view, nullptr, threads);
    compute_dx(threads);
    compute_dw(threads);
    const double expected = dot(dst, grad);
    return dot(src, dx) == expected && dot(weights, dw) == expected;
  }

 private:
  static Options options_of(const TableRow& row, const std::string& layout) {
    Options options;
    options.layout = layout;
    options.stride = {row.stride};
    options.groups = row.groups;
    return options;
  }
};

void run_gradient(benchmark::State& state, const TableRow& row, const std::string& layout, bool of_src, int threads,
                  double peak) {
  Gradients gradients(row, layout);
  if (!gradients.right(threads)) {
    state.SkipWithError("wrong result");
    return;
  }
  time_flops(state, threads, static_cast<double>(gradients.cost.flops), peak,
             [&] { of_src ? gradients.compute_dx(threads) : gradients.compute_dw(threads); });
}

// Times the gram matrix of an array with `channels` first or last. Counts the lower half with the diagonal.
void run_gram(benchmark::State& state, int64_t channels, int64_t pixels, bool channels_first, int threads,
              double peak) {
  Random random;
  const Array x(channels_first ? Shape{channels, pixels} : Shape{pixels, channels}, &random);
  Array gram({channels, channels});
  const int axis = channels_first ? 0 : 1;
  const auto call = [&] { gram_matrix(x.view, x.view, gram.view, axis, true, threads); };
  call();
  const int64_t channel = channels_first ? pixels : 1, pixel = channels_first ? 1 : channels;
  for (int64_t i = 0; i < channels; i += 7)
    for (int64_t j = i % 5; j < channels; j += 5) {
      double sum = 0;
      for (int64_t p = 0; p < pixels; ++p)
        sum += static_cast<double>(x.numbers[i * channel + p * pixel]) * x.numbers[j * channel + p * pixel];
      if (gram.numbers[i * channels + j] != sum) {
        state.SkipWithError("wrong result");
        return;
      }
    }
  time_flops(state, threads, static_cast<double>(channels * (channels + 1) * pixels), peak, call);
}

}  // namespace

void register_gradients(const Settings& settings) {
  const int threads = settings.threads;
  const double peak = fma_peak(DType::f32, threads, 9);
  const auto add = [](const std::string& name, const auto& run) {
    benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMicrosecond);
  };
  for (const TableRow& row : read_layer_tables(settings.layers))
    for (const std::string layout : {"NCHW", "NHWC"})
      for (const bool of_src : {true, false})
        add((of_src ? "dx/" : "dw/") + row.network + "/" + row.layer + "/" + layout,
            [=](benchmark::State& state) { run_gradient(state, row, layout, of_src, threads, peak); });
  for (const int64_t channels : {3, 31, 200})
    for (const bool first : {true, false}) {
      const int64_t pixels = 1 << 16;
      add("gram/" + std::to_string(channels) + "x" + std::to_string(pixels) + (first ? "/CW" : "/WC"),
          [=](benchmark::State& state) { run_gram(state, channels, pixels, first, threads, peak); });
    }
}

}  // namespace pointwise_bench
