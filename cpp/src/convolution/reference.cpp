#include "convolution/reference.h"

#include <cmath>
#include <cstring>
#include <string>

namespace pointwise {

// As it stands in pointwise.h, but where a difference would lose digits.
template <class Wide>
Wide reference_activation(const Activation& activation, Wide v) {
  const Wide a = static_cast<Wide>(activation.a), b = static_cast<Wide>(activation.b);
  const auto clip = [](Wide x, Wide low, Wide high) { return x < low ? low : x > high ? high : x; };
  const auto sigmoid = [](Wide x) { return 1 / (1 + std::exp(-x)); };
  const auto hardsigmoid = [](Wide x) { return x <= -3 ? Wide{0} : x >= 3 ? Wide{1} : (x + 3) / 6; };
  const auto softplus = [](Wide x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); };
  switch (activation.kind) {
    case Activation::Kind::none: return v;
    case Activation::Kind::relu: return v < 0 ? 0 : v;
    case Activation::Kind::relu6: return clip(v, 0, 6);
    case Activation::Kind::clip: return clip(v, a, b);
    case Activation::Kind::leaky_relu: return v < 0 ? a * v : v;
    case Activation::Kind::elu: return v < 0 ? a * std::expm1(v) : v;
    case Activation::Kind::sigmoid: return sigmoid(v);
    case Activation::Kind::tanh: return std::tanh(v);
    case Activation::Kind::silu: return v * sigmoid(v);
    case Activation::Kind::hardsigmoid: return hardsigmoid(v);
    case Activation::Kind::hardswish: return v * hardsigmoid(v);
    case Activation::Kind::gelu: return v * (std::erfc(-v / std::sqrt(Wide{2})) / 2);
    case Activation::Kind::gelu_tanh: {
      const Wide pi = std::acos(Wide{-1});
      return v * sigmoid(2 * std::sqrt(2 / pi) * (v + Wide{0.044715L} * v * v * v));  // (1 + tanh(u))/2 = sigmoid(2u)
    }
    case Activation::Kind::softplus: return softplus(v);
    case Activation::Kind::mish: return v * std::tanh(softplus(v));
  }
  return v;
}

template double reference_activation(const Activation&, double);
template long double reference_activation(const Activation&, long double);

namespace {

template <class T, class Sum>
void run(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
         const View* residual, const View* input_scale, double* magnitude) {
  const std::string& layout = options.layout;
  const int rank = dst.shape.rank;
  const auto read = [](const View& view, int64_t at) {
    T value;
    std::memcpy(&value, static_cast<const char*>(view.data) + at, sizeof(T));
    return static_cast<Sum>(value);
  };
  const auto read_src = [&](int64_t at) {
    const char* const p = static_cast<const char*>(src.data) + at;
    const auto as = [p](auto value) {
      std::memcpy(&value, p, sizeof(value));
      return static_cast<Sum>(value);
    };
    switch (src.dtype) {
      case DType::f32: return as(float{});
      case DType::f64: return as(double{});
      case DType::u8: return as(uint8_t{});
      case DType::i8: return as(int8_t{});
      case DType::u16: return as(uint16_t{});
      case DType::i16: return as(int16_t{});
    }
    return Sum{0};
  };
  const size_t c = layout.find('C');
  const int64_t group_inputs = weights.shape[1];
  int64_t elements = 1;
  for (int i = 0; i < rank; ++i) elements *= dst.shape[i];
  for (int64_t e = 0; e < elements; ++e) {
    // The place of element e in each array, axis by axis.
    int64_t rest = e, dst_at = 0, residual_at = 0, src_at = 0, o = 0, image = 0;
    bool inside = true;
    for (int i = rank - 1, spatial = 0; i >= 0; --i) {
      const int64_t p = rest % dst.shape[i];
      rest /= dst.shape[i];
      dst_at += p * dst.strides[i];
      if (residual) residual_at += p * residual->strides[i];
      if (layout[i] == 'C') {
        o = p;
      } else if (layout[i] == 'N') {
        src_at += p * src.strides[i];
        image = p;
      } else {
        const size_t from_last = spatial++;
        const auto& s = options.stride;
        const auto& q = options.padding;
        const int64_t stride = s.size() == 1 ? s[0] : s[s.size() - 1 - from_last];
        const int64_t padding = q.size() == 1 ? q[0] : q[q.size() - 1 - from_last];
        const int64_t at = p * stride - padding;
        inside = inside && at >= 0 && at < src.shape[i];
        src_at += at * src.strides[i];
      }
    }
    Sum sum = bias ? read(*bias, o * bias->strides[0]) : 0, scale = std::fabs(sum);
    const int64_t first = o / (dst.shape[c] / options.groups) * group_inputs;
    for (int64_t i = 0; inside && i < group_inputs; ++i) {
      Sum x = read_src(src_at + (first + i) * src.strides[c]);
      if (input_scale) {  // rounded, as an array of products would be
        const int rank = input_scale->shape.rank;
        const int64_t at =
            (rank == 2 ? image * input_scale->strides[0] : 0) + (first + i) * input_scale->strides[rank - 1];
        x = static_cast<T>(static_cast<T>(x) * static_cast<T>(read(*input_scale, at)));
      }
      const Sum term = read(weights, o * weights.strides[0] + i * weights.strides[1]) * x;
      sum += term;
      scale += std::fabs(term);
    }
    if (residual) {
      sum += read(*residual, residual_at);
      scale += std::fabs(read(*residual, residual_at));
    }
    const T value = static_cast<T>(reference_activation(options.activation, sum));
    std::memcpy(static_cast<char*>(dst.data) + dst_at, &value, sizeof(T));
    if (magnitude) magnitude[e] = static_cast<double>(scale);
  }
}

}  // namespace

void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude, const View* input_scale) {
  if (options.dtype == DType::f32)
    run<float, double>(weights, bias, options, src, dst, residual, input_scale, magnitude);
  else
    run<double, long double>(weights, bias, options, src, dst, residual, input_scale, magnitude);
}

}  // namespace pointwise
