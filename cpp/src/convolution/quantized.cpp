// The class QuantizedLayer: validates the arguments, lowers calls to products and runs them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "base/checked.h"
#include "base/float_environment.h"
#include "convolution/layer.h"
#include "convolution/lowering.h"
#include "convolution/validate.h"
#include "product/integers.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

constexpr double least_int32 = std::numeric_limits<int32_t>::min(), most_int32 = std::numeric_limits<int32_t>::max();

struct Range {
  int low, high;
};
Range range_of(DType dtype) { return dtype == DType::u8 ? Range{0, 255} : Range{-128, 127}; }

void validate_bytes_dtype(Argument argument, DType dtype) {
  if (dtype != DType::u8 && dtype != DType::i8)
    throw Error(argument, std::string("must have dtype uint8 or int8, got ") + info(dtype).name);
}

void validate_zero(Argument argument, int zero, DType dtype) {
  const Range range = range_of(dtype);
  if (zero < range.low || zero > range.high)
    throw Error(argument, "must be within the range of " + std::string(info(dtype).name) + ", " +
                              std::to_string(range.low) + " to " + std::to_string(range.high) + ", got " +
                              std::to_string(zero));
}

void validate_scale(Argument argument, float scale) {
  if (!(scale > 0) || std::isinf(scale))
    throw Error(argument, "must be positive and finite in float32, got " + std::to_string(scale));
}

// Throws Error unless a list has one number, or one for each output channel.
void validate_count(Argument argument, size_t count, int64_t c_out) {
  if (count != 1 && static_cast<int64_t>(count) != c_out)
    throw Error(argument, "must have one number, or one for each of the " + std::to_string(c_out) +
                              " output channels, got " + std::to_string(count) + " numbers");
}

template <class T>
std::vector<T> for_channels(const std::vector<T>& given, int64_t c_out) {
  return given.size() == 1 ? std::vector<T>(static_cast<size_t>(c_out), given[0]) : given;
}

std::vector<int32_t> bias_numbers(const View* bias, int64_t c_out) {
  std::vector<int32_t> numbers(static_cast<size_t>(c_out));
  for (int64_t o = 0; bias && o < c_out; ++o)
    std::memcpy(&numbers[static_cast<size_t>(o)], static_cast<const char*>(bias->data) + o * bias->strides[0],
                sizeof(int32_t));
  return numbers;
}

// Returns the Rounding of a layer. Its bounds apply before the zero point is added.
Rounding rounding_of(const Activation& activation, const Quantization& q) {
  using Kind = Activation::Kind;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  float low = -infinity, high = infinity;
  switch (activation.kind) {
    case Kind::none: break;
    case Kind::relu: low = 0; break;
    case Kind::relu6: low = 0, high = 6; break;
    case Kind::clip: low = static_cast<float>(activation.a), high = static_cast<float>(activation.b); break;
    default: throw Error(Argument::activation, "must be none, relu, relu6 or clip in a quantized convolution");
  }
  const Range range = range_of(q.dst);
  const float least = static_cast<float>(range.low - q.dst_zero), most = static_cast<float>(range.high - q.dst_zero);
  const auto bound = [&](float v) { return std::clamp(std::nearbyint(v / q.dst_scale), least, most); };
  return {bound(low), bound(high), q.dst_zero, q.dst == DType::i8};
}

// Throws Error if a sum of an output channel can leave the range of int32.
void validate_sums(const View& weights, const IntegerParameters& parameters) {
  for (int64_t o = 0; o < weights.shape[0]; ++o) {
    const SumRange range = sum_range(weights, parameters, o);
    if (range.least >= least_int32 && range.greatest <= most_int32) continue;
    const int64_t reached = range.greatest > most_int32 ? range.greatest : range.least;
    throw Error(Argument::weights,
                "must keep every sum within the range of int32, but for some " +
                    std::string(info(parameters.src).name) + " inputs with zero point " +
                    std::to_string(parameters.src_zero) + ", the sum of output channel " + std::to_string(o) + " is " +
                    std::to_string(reached) +
                    ": divide the input channels among several convolutions, and add their results in int64");
  }
}

}  // namespace

struct QuantizedLayer::Impl {
  Options options;
  Quantization quantization;
  const Layout& layout;
  Window window;
  int64_t c_in, c_out;
  PackedIntegers weights;

  // Returns the packed weights of layers, for a QuantizedChain.
  static std::vector<const PackedIntegers*> weights_of(const std::vector<const QuantizedLayer*>& layers) {
    std::vector<const PackedIntegers*> all;
    for (const QuantizedLayer* layer : layers) all.push_back(&layer->impl_->weights);
    return all;
  }

  // Lowers a convolution of contiguous arrays to a product. src is that of this layer, and dst that of `last`.
  Product contiguous_product(const Impl& last, int64_t product_groups, const Shape& src_shape,
                             const Shape& dst_shape) const {
    Options source = options, result = last.options;
    source.dtype = quantization.src;
    result.dtype = last.quantization.dst;
    View src, dst;
    make_views(source, result, src_shape, dst_shape, &src, &dst);
    return lower(layout, window, product_groups, DType::i32, src, dst, nullptr);
  }

  Impl(const View& view, const View* bias, const Options& given, const Quantization& q)
      : options(given),
        quantization(q),
        layout(parse_layout(given.layout)),
        window(validate_window(given, layout)),
        c_in(validate_weights(view.shape, given.groups)),
        c_out(view.shape[0]) {
    const bool requantizes = q.dst != DType::i32;
    validate_bytes_dtype(Argument::src, q.src);
    validate_bytes_dtype(Argument::weights, view.dtype);
    if (requantizes) validate_bytes_dtype(Argument::dst, q.dst);
    validate_bytes(Argument::weights, view.shape, view.dtype);
    if (bias) {
      validate_dtype(Argument::bias, *bias, DType::i32);
      validate_bias(bias->shape, view.shape, given.groups);
    }
    validate_zero(Argument::src_zero, q.src_zero, q.src);
    validate_count(Argument::weight_zeros, q.weight_zeros.size(), c_out);
    for (const int zero : q.weight_zeros) validate_zero(Argument::weight_zeros, zero, view.dtype);
    IntegerParameters parameters{};
    parameters.src = q.src;
    parameters.dst = q.dst;
    parameters.groups = given.groups;
    parameters.src_zero = q.src_zero;
    parameters.weight_zeros = for_channels(q.weight_zeros, c_out);
    parameters.bias = bias_numbers(bias, c_out);
    if (requantizes) {
      const FloatEnvironment environment;
      validate_activation(given.activation, DType::f32, c_out);
      validate_zero(Argument::dst_zero, q.dst_zero, q.dst);
      validate_scale(Argument::src_scale, q.src_scale);
      validate_scale(Argument::dst_scale, q.dst_scale);
      validate_count(Argument::weight_scales, q.weight_scales.size(), c_out);
      for (const float scale : q.weight_scales) validate_scale(Argument::weight_scales, scale);
      parameters.rounding = rounding_of(given.activation, q);
      for (const float scale : for_channels(q.weight_scales, c_out)) {
        const float factor = q.src_scale * scale / q.dst_scale;
        if (std::isinf(factor))
          throw Error(Argument::dst_scale, "must be large enough for a finite quotient of the scales in float32, got " +
                                               std::to_string(q.dst_scale));
        parameters.factors.push_back(factor);
      }
    }
    validate_sums(view, parameters);
    weights = pack_integers(view, parameters);
  }
};

QuantizedLayer::QuantizedLayer(const View& weights, const View* bias, const Options& options,
                               const Quantization& quantization)
    : impl_(std::make_unique<const Impl>(weights, bias, options, quantization)) {}
QuantizedLayer::~QuantizedLayer() = default;
QuantizedLayer::QuantizedLayer(QuantizedLayer&&) noexcept = default;
QuantizedLayer& QuantizedLayer::operator=(QuantizedLayer&&) noexcept = default;

const Options& QuantizedLayer::options() const { return impl_->options; }
const Quantization& QuantizedLayer::quantization() const { return impl_->quantization; }
int64_t QuantizedLayer::c_in() const { return impl_->c_in; }
int64_t QuantizedLayer::c_out() const { return impl_->c_out; }

Shape QuantizedLayer::output_shape(const Shape& src_shape) const {
  return validate_src(src_shape, impl_->layout, impl_->window, impl_->c_in, impl_->c_out, impl_->options.groups);
}

void QuantizedLayer::operator()(const View& src, const View& dst, int threads) const {
  const Impl& layer = *impl_;
  validate_dtype(Argument::src, src, layer.quantization.src);
  validate_dtype(Argument::dst, dst, layer.quantization.dst);
  validate_shape(Argument::dst, dst.shape, output_shape(src.shape));
  validate_bytes(Argument::src, src.shape, src.dtype);
  validate_bytes(Argument::dst, dst.shape, dst.dtype);
  const Product product = lower(layer.layout, layer.window, layer.options.groups, DType::i32, src, dst, nullptr);
  run_integers(product, layer.weights, static_cast<const char*>(src.data), static_cast<char*>(dst.data),
               openmp_limit(threads > 0 ? threads : thread_count()));
}

std::string QuantizedLayer::explain(const Shape& src_shape) const {
  const Product product = impl_->contiguous_product(*impl_, impl_->options.groups, src_shape, output_shape(src_shape));
  return explain_integers(product, impl_->weights, threads_to_explain());
}

QuantizedChain::QuantizedChain(std::vector<const QuantizedLayer*> layers) : layers_(std::move(layers)) {
  if (layers_.empty()) throw Error(Argument::layers, "must have at least one layer, got none");
  const auto refuse = [](size_t i, const std::string& detail) {
    throw Error(Argument::layers, detail + " in layer " + std::to_string(i));
  };
  for (size_t i = 0; i < layers_.size(); ++i) {
    const QuantizedLayer::Impl& layer = *layers_[i]->impl_;
    const auto all = [&](const std::array<int64_t, max_spatial>& values, int64_t value) {
      return std::all_of(values.begin(), values.begin() + layer.layout.spatial, [&](int64_t v) { return v == value; });
    };
    if (!all(layer.window.padding, 0)) refuse(i, "must have no padding, got padding");
    if (i == 0) continue;
    const QuantizedLayer::Impl& before = *layers_[i - 1]->impl_;
    if (&layer.layout != &before.layout)
      refuse(i, std::string("must all have layout ") + before.layout.name + ", got " + layer.layout.name);
    if (!all(layer.window.stride, 1)) refuse(i, "must have stride 1 after the first layer, got another stride");
    if (layer.c_in != before.c_out)
      refuse(i, "must have as many input channels as the layer before has output channels, " +
                    std::to_string(before.c_out) + ", got " + std::to_string(layer.c_in));
    if (layer.quantization.src != before.quantization.dst)
      refuse(i, std::string("must read the dtype of the layer before, ") + info(before.quantization.dst).name +
                    ", got " + info(layer.quantization.src).name);
  }
}

Shape QuantizedChain::output_shape(const Shape& src_shape) const {
  Shape shape = layers_.front()->output_shape(src_shape);
  shape[layers_.front()->impl_->layout.channels] = layers_.back()->c_out();
  return shape;
}

void QuantizedChain::operator()(const View& src, const View& dst, int threads) const {
  const QuantizedLayer::Impl &first = *layers_.front()->impl_, &last = *layers_.back()->impl_;
  validate_dtype(Argument::src, src, first.quantization.src);
  validate_dtype(Argument::dst, dst, last.quantization.dst);
  validate_shape(Argument::dst, dst.shape, output_shape(src.shape));
  validate_bytes(Argument::src, src.shape, src.dtype);
  validate_bytes(Argument::dst, dst.shape, dst.dtype);
  const Product product = lower(first.layout, first.window, 1, DType::i32, src, dst, nullptr);
  run_integer_chain(product, QuantizedLayer::Impl::weights_of(layers_), static_cast<const char*>(src.data),
                    static_cast<char*>(dst.data), openmp_limit(threads > 0 ? threads : thread_count()));
}

std::string QuantizedChain::explain(const Shape& src_shape) const {
  const QuantizedLayer::Impl &first = *layers_.front()->impl_, &last = *layers_.back()->impl_;
  const Product product = first.contiguous_product(last, 1, src_shape, output_shape(src_shape));
  return explain_integer_chain(product, QuantizedLayer::Impl::weights_of(layers_), threads_to_explain());
}

}  // namespace pointwise
