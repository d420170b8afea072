// The members of a Layer, and functions of explain(). Chain uses both, too.
#pragma once

#include "convolution/lowering.h"
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
  mutable PlanCache<Plan> plans;

  Impl(const View& weights, const View* bias, const Options& given, bool borrows);
};

// Makes views of C-contiguous arrays without memory: the src of a layer with the options `first`, and the dst of a
// layer with the options `last`. If results are integers, src has the dtype uint8. Throws Error if an array is too
// large.
void make_views(const Options& first, const Options& last, const Shape& src_shape, const Shape& dst_shape, View* src,
                View* dst);
// Returns the number of threads that a call may use now.
int threads_to_explain();

}  // namespace pointwise
