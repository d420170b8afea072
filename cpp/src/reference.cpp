#include "reference.h"

#include <cmath>
#include <cstring>
#include <string>

namespace pointwise {
namespace {

template <class T, class Sum>
void run(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
         const View* residual, double* magnitude) {
  const std::string& layout = options.layout;
  const int rank = dst.shape.rank;
  const auto read = [](const View& view, int64_t at) {
    T value;
    std::memcpy(&value, static_cast<const char*>(view.data) + at, sizeof(T));
    return static_cast<Sum>(value);
  };
  const size_t c = layout.find('C');
  const int64_t group_inputs = weights.shape[1];
  int64_t elements = 1;
  for (int i = 0; i < rank; ++i) elements *= dst.shape[i];
  for (int64_t e = 0; e < elements; ++e) {
    // The place of element e in each array, axis by axis.
    int64_t rest = e, dst_at = 0, residual_at = 0, src_at = 0, o = 0;
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
      const Sum term = read(weights, o * weights.strides[0] + i * weights.strides[1]) *
                       read(src, src_at + (first + i) * src.strides[c]);
      sum += term;
      scale += std::fabs(term);
    }
    if (residual) {
      sum += read(*residual, residual_at);
      scale += std::fabs(read(*residual, residual_at));
    }
    if (options.activation.kind == Activation::Kind::relu && sum < 0) sum = 0;
    const T value = static_cast<T>(sum);
    std::memcpy(static_cast<char*>(dst.data) + dst_at, &value, sizeof(T));
    if (magnitude) magnitude[e] = static_cast<double>(scale);
  }
}

}  // namespace

void reference(const View& weights, const View* bias, const Options& options, const View& src, const View& dst,
               const View* residual, double* magnitude) {
  if (options.dtype == DType::f32)
    run<float, double>(weights, bias, options, src, dst, residual, magnitude);
  else
    run<double, long double>(weights, bias, options, src, dst, residual, magnitude);
}

}  // namespace pointwise
