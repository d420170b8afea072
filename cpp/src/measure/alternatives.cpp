#include "measure/alternatives.h"

#include <algorithm>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/types.h"
#include "convolution/lowering.h"
#include "kernels/registry.h"
#include "product/driver.h"
#include "product/explain.h"

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
  return pack_weights(View(weights.get(), options.dtype, {layer.c_out(), inputs}), &bias_view, options);
}

std::string words_of(const Box& box, const Blocking& b, const KernelRows& rows) {
  const std::string words = std::string(rows[b.kernel_row].name) + ", " + packing_words(b.packing);
  if (box.axes == 1) return words;
  return words + ", " + std::to_string(b.images) + " x " + std::to_string(b.n) + " pixels";
}

bool same_way(const Blocking& a, const Blocking& b) {
  return a.kernel_row == b.kernel_row && a.packing == b.packing && a.n_axes == b.n_axes;
}

// Returns the index of the first box that reads src, or 0 if no box reads src.
int main_box(const Product& product) {
  for (int i = 0; i < product.boxes; ++i)
    if (product.box[i].k > 0) return i;
  return 0;
}

}  // namespace

std::vector<Alternative> ways_to_run(const Layer& layer, const Shape& src_shape) {
  const FloatEnvironment environment;  // the cost model needs the default state
  const Options& options = layer.options();
  const Layout& layout = parse_layout(options.layout);
  const View src(nullptr, options.dtype, src_shape), dst(nullptr, options.dtype, layer.output_shape(src_shape));
  const Product product = lower(layout, validate_window(options, layout), options.groups,
                                selected_isa().packed_dtype(options.dtype, layer.c_in() / options.groups), src, dst,
                                nullptr, nullptr, options.activation.kind == Activation::Kind::prelu);
  std::vector<Alternative> ways;
  if (product.boxes == 0) return ways;

  const KernelRows& rows = kernels(product.types.w).rows;
  const Plan chosen = make_uncut_plan(product, 1);
  const int main = main_box(product);
  const auto add = [&](const Blocking& b) {
    std::array<Blocking, max_boxes> blocking = chosen.blocking;
    blocking[main] = b;
    ways.push_back({words_of(chosen.product.box[main], b, rows), b.cycles, plan_of(chosen.product, blocking, 1)});
  };
  add(chosen.blocking[main]);
  for (const Candidate& c : candidates(work_of(chosen.product, chosen.product.box[main], 1), rows))
    if (c.refused == nullptr && !same_way(c.blocking, chosen.blocking[main])) add(c.blocking);
  return ways;
}

Alternatives::Alternatives(const Layer& layer, const Shape& src_shape)
    : dst_shape_(layer.output_shape(src_shape)), weights_(weights_of(layer)), all_(ways_to_run(layer, src_shape)) {}

void Alternatives::run(size_t index, const void* src, void* dst) const {
  run_plan(all_.at(index).plan, weights_, {static_cast<const char*>(src), static_cast<char*>(dst)}, 1);
}

}  // namespace pointwise
