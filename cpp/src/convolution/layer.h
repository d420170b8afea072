// The members of a Layer, and functions of explain(). Chain uses both, too.
#pragma once

#include "convolution/lowering.h"
#include "convolution/tuning.h"
#include "product/driver.h"
#include "product/plan_cache.h"

namespace pointwise {

struct Layer::Impl {
  Options options;
  const Layout& layout;
  Window window;
  int64_t c_in, c_out;
  bool has_bias, borrowed;
  PackedWeights weights;
  // The plans of a layer that packed its weights; null if the layer borrows. A borrowing layer lives for one call, so
  // it does not need a cache, which takes kilobytes.
  const std::unique_ptr<PlanCache<Plan>> plans;
  mutable Choices choices;

  Impl(const View& weights, const View* bias, Options given, bool borrows);
};

// Lowers a call, and checks that the sizes of the arrays in bytes are in range. Only planning multiplies these sizes.
// So calls with a cached plan skip the check.
Product lower_call(const Layer::Impl& layer, const View& src, const View& dst, const View* residual,
                   const View* input_scale);
// Returns the plan of a call of a layer that packed its weights: a choice of Layer::tune(), or else the prediction.
std::shared_ptr<const Plan> plan_for(const Layer::Impl& layer, const View& src, const View& dst, const View* residual,
                                     const View* input_scale, int threads);
// Makes views of C-contiguous arrays without memory. src is for a layer with the options `first`, and dst is for a
// layer with the options `last`. If `src_dtype` is empty, src has the dtype of the layer, or uint8 if results are
// integers. Throws Error if an array is too large.
void make_views(const Options& first, const Options& last, const Shape& src_shape, const Shape& dst_shape, View* src,
                View* dst, std::optional<DType> src_dtype = std::nullopt);
// Returns the number of threads that a call may use now.
int threads_to_explain();

}  // namespace pointwise
