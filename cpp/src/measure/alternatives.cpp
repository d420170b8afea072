#include "measure/alternatives.h"

#include <utility>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/types.h"
#include "convolution/lowering.h"
#include "kernels/registry.h"
#include "product/driver.h"
#include "product/explain.h"
#include "product/ways.h"

namespace pointwise {
namespace {

// Packs the weights of a layer again, because the packed weights in the layer are private.
PackedWeights weights_of(const Layer& layer) {
  const Options& options = layer.options();
  const DType sum = info(options.dtype).sum;
  const int64_t inputs = layer.c_in() / options.groups, item = item_size(sum);
  const AlignedBytes weights = allocate_aligned(allocation_size(allocation_size(layer.c_out(), inputs), item));
  const AlignedBytes bias = allocate_aligned(allocation_size(layer.c_out(), item));
  layer.copy_weights(weights.get());
  layer.copy_bias(bias.get());  // zeros if the layer has no bias
  const View bias_view(bias.get(), sum, {layer.c_out()});
  const View weights_view(weights.get(), options.weight_dtype.value_or(options.dtype), {layer.c_out(), inputs});
  return pack_weights(weights_view, &bias_view, options);
}

std::string words_of(const Box& box, const Blocking& b, const KernelRows& rows) {
  const std::string words = std::string(rows[b.kernel_row].name) + ", " + packing_words(b.packing);
  if (box.axes == 1) return words;
  return words + ", " + std::to_string(b.images) + " x " + std::to_string(b.n) + " pixels";
}

}  // namespace

std::vector<Alternative> ways_to_run(const Layer& layer, const Shape& src_shape) {
  const FloatEnvironment environment;  // the cost model needs the default state
  const Options& options = layer.options();
  const Layout& layout = parse_layout(options.layout);
  const View src(nullptr, options.dtype, src_shape), dst(nullptr, options.dtype, layer.output_shape(src_shape));
  const Product product = lower(layout, validate_window(options, layout), options.groups,
                                packed_dtype(options, layer.c_in() / options.groups), src, dst, nullptr, nullptr,
                                options.activation.kind == Activation::Kind::prelu);
  std::vector<Alternative> ways;
  if (product.boxes == 0) return ways;

  const KernelRows& rows = kernels(product.types.w).rows;
  for (PlannedWay& way : uncut_ways(product, 1)) {
    const int main = main_box(way.plan.product);
    const Blocking& b = way.plan.blocking[main];
    ways.push_back({words_of(way.plan.product.box[main], b, rows), b.cycles, std::move(way.plan)});
  }
  return ways;
}

Alternatives::Alternatives(const Layer& layer, const Shape& src_shape)
    : dst_shape_(layer.output_shape(src_shape)), weights_(weights_of(layer)), all_(ways_to_run(layer, src_shape)) {}

void Alternatives::run(size_t index, const void* src, void* dst) const {
  run_plan(all_.at(index).plan, weights_, {static_cast<const char*>(src), static_cast<char*>(dst)}, 1);
}

}  // namespace pointwise
