#include "kernels/activation_reference.h"

#include <cmath>

namespace pointwise {

// Evaluates the formulas of pointwise.h. The formulas are rewritten so that no subtraction cancels digits.
template <class Wide>
Wide reference_activation(const Activation& activation, Wide v, int64_t channel) {
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
    case Activation::Kind::prelu:
      return v < 0 ? static_cast<Wide>(activation.slopes[static_cast<size_t>(channel)]) * v : v;
  }
  return v;
}

template double reference_activation(const Activation&, double, int64_t);
template long double reference_activation(const Activation&, long double, int64_t);

}  // namespace pointwise
