// The members of a Layer. Chain uses these members, too.
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

}  // namespace pointwise
