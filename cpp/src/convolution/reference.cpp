#include "convolution/reference.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/numbers.h"
#include "kernels/activation_reference.h"

namespace pointwise {
namespace {

// The type of the sums. It represents numbers of every dtype exactly.
using Wide = long double;

// Calls f(e, at) for every element in C order. `e` is the index in this order, and `at` has the position along each
// axis.
template <class F>
void for_each_element(const Shape& shape, const F& f) {
  int64_t elements = 1;
  for (int i = 0; i < shape.rank; ++i) elements *= shape[i];
  Sizes at{};
  for (int64_t e = 0; e < elements; ++e) {
    f(e, at);
    for (int i = shape.rank - 1; i >= 0 && ++at[i] == shape[i]; --i) at[i] = 0;
  }
}

// Returns the offset of an element in bytes.
int64_t offset(const View& view, const Sizes& at) {
  int64_t bytes = 0;
  for (int i = 0; i < view.shape.rank; ++i) bytes += at[i] * view.strides[i];
  return bytes;
}

double number_at(const View& view, const Sizes& at) {
  return read_number(view.dtype, static_cast<const char*>(view.data) + offset(view, at));
}

// Returns the numbers of a view in C order.
std::vector<double> numbers_of(const View& view) {
  std::vector<double> numbers;
  for_each_element(view.shape, [&](int64_t, const Sizes& at) { numbers.push_back(number_at(view, at)); });
  return numbers;
}

// Rounds a number to the nearest number of the dtype.
double rounded(DType dtype, double number) {
  char bytes[sizeof(double)];
  write_number(dtype, bytes, number);
  return read_number(dtype, bytes);
}

int64_t value_for_axis(const std::vector<int64_t>& values, int axis) {
  return values.size() == 1 ? values[0] : values[static_cast<size_t>(axis)];
}

}  // namespace

void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude, const View* input_scale) {
  const std::string& layout = options.layout;
  const int c = static_cast<int>(layout.find('C'));
  const size_t n = layout.find('N');
  const int64_t group_inputs = weights.shape[1], group_outputs = dst.shape[c] / options.groups;
  const std::vector<double> w = numbers_of(weights), b = bias ? numbers_of(*bias) : std::vector<double>();
  std::vector<double> x = numbers_of(src);
  if (input_scale)  // rounds the product to the dtype of the layer, as NumPy does for x * input_scale
    for_each_element(src.shape, [&](int64_t e, const Sizes& at) {
      Sizes factor{};
      if (n != std::string::npos) factor[0] = at[n];
      factor[input_scale->shape.rank - 1] = at[c];
      x[static_cast<size_t>(e)] = rounded(options.dtype, x[static_cast<size_t>(e)] * number_at(*input_scale, factor));
    });
  Sizes step{};  // from an element of x to the next one along each axis
  for (int64_t i = src.shape.rank - 1, next = 1; i >= 0; next *= src.shape[static_cast<int>(i--)]) step[i] = next;

  for_each_element(dst.shape, [&](int64_t e, const Sizes& at) {
    const int64_t o = at[c];
    int64_t from = o / group_outputs * group_inputs * step[c];
    bool inside = true;
    for (int i = 0, spatial = 0; i < dst.shape.rank; ++i) {
      if (i == c) continue;
      int64_t p = at[i];
      if (layout[i] != 'N') {
        p = p * value_for_axis(options.stride, spatial) - value_for_axis(options.padding, spatial);
        inside = inside && p >= 0 && p < src.shape[i];
        ++spatial;
      }
      from += p * step[i];
    }
    Wide sum = bias ? b[static_cast<size_t>(o)] : 0, scale = std::fabs(sum);
    for (int64_t i = 0; inside && i < group_inputs; ++i) {
      const Wide weight = w[static_cast<size_t>(o * group_inputs + i)];
      const Wide term = weight * x[static_cast<size_t>(from + i * step[c])];
      sum += term;
      scale += std::fabs(term);
    }
    if (residual) {
      sum += number_at(*residual, at);
      scale += std::fabs(static_cast<Wide>(number_at(*residual, at)));
    }
    write_number(dst.dtype, static_cast<char*>(dst.data) + offset(dst, at),
                 static_cast<double>(reference_activation(options.activation, sum, o)));
    if (magnitude) magnitude[e] = static_cast<double>(scale);
  });
}

}  // namespace pointwise
