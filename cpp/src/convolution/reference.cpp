#include "convolution/reference.h"

#include <cmath>
#include <string>

#include "base/numbers.h"
#include "kernels/activation_reference.h"

namespace pointwise {
namespace {

// The type of the sums. It represents numbers of every dtype exactly.
using Wide = long double;

Wide read(const View& view, int64_t at) { return read_number(view.dtype, static_cast<const char*>(view.data) + at); }

// Rounds a number to the nearest number of the dtype.
Wide rounded(DType dtype, double number) {
  char bytes[sizeof(double)];
  write_number(dtype, bytes, number);
  return read_number(dtype, bytes);
}

}  // namespace

void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude, const View* input_scale) {
  const std::string& layout = options.layout;
  const int rank = dst.shape.rank;
  const size_t c = layout.find('C');
  const int64_t group_inputs = weights.shape[1];
  int64_t elements = 1;
  for (int i = 0; i < rank; ++i) elements *= dst.shape[i];
  for (int64_t e = 0; e < elements; ++e) {
    // Finds the offset of element e in each array, axis by axis.
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
    Wide sum = bias ? read(*bias, o * bias->strides[0]) : 0, scale = std::fabs(sum);
    const int64_t first = o / (dst.shape[c] / options.groups) * group_inputs;
    for (int64_t i = 0; inside && i < group_inputs; ++i) {
      Wide x = read(src, src_at + (first + i) * src.strides[c]);
      if (input_scale) {  // rounds the product to the dtype of x, as NumPy does for x * input_scale
        const int rank = input_scale->shape.rank;
        const int64_t at =
            (rank == 2 ? image * input_scale->strides[0] : 0) + (first + i) * input_scale->strides[rank - 1];
        x = rounded(options.dtype, static_cast<double>(x) * static_cast<double>(read(*input_scale, at)));
      }
      const Wide term = read(weights, o * weights.strides[0] + i * weights.strides[1]) * x;
      sum += term;
      scale += std::fabs(term);
    }
    if (residual) {
      sum += read(*residual, residual_at);
      scale += std::fabs(read(*residual, residual_at));
    }
    write_number(dst.dtype, static_cast<char*>(dst.data) + dst_at,
                 static_cast<double>(reference_activation(options.activation, sum)));
    if (magnitude) magnitude[e] = static_cast<double>(scale);
  }
}

}  // namespace pointwise
