// Maps three input channels to two output channels, for each pixel of a 1x2 image. If a, b and c are the input
// channels, the output channels are relu(a + b + c + 10) and relu(-a).
#include <pointwise/pointwise.h>

#include <cstdio>
#include <vector>

int main() {
  using pointwise::DType;
  const std::vector<float> weights{1, 1, 1, -1, 0, 0};  // (output channels, input channels)
  const std::vector<float> bias{10, 0};
  const std::vector<float> src{0, 2, 1, 4, 1, 8};  // (batch, channels, height, width)
  std::vector<float> dst(4);

  pointwise::Options options;
  options.activation = pointwise::Activation::relu();
  const pointwise::View bias_view(bias.data(), DType::f32, {2});
  const pointwise::Layer layer(pointwise::View(weights.data(), DType::f32, {2, 3}), &bias_view, options);
  layer(pointwise::View(src.data(), DType::f32, {1, 3, 1, 2}), pointwise::View(dst.data(), DType::f32, {1, 2, 1, 2}));

  // The first pixel gives 10 + 0 + 1 + 1 and max(-0, 0). The second pixel gives 10 + 2 + 4 + 8 and max(-2, 0).
  std::printf("%g %g %g %g\n", dst[0], dst[2], dst[1], dst[3]);
  std::printf("pointwise %s, %s\n", pointwise::version(), pointwise::isa().c_str());
}
