// What a layer holds, for the layer itself and for chains of layers.
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
  Weights weights;
  mutable PlanCache<Plan> plans;

  Impl(const View& weights, const View* bias, const Options& given, bool borrows);
};

// Runs a plan that was made for a layer of this dtype and these shapes.
void run_layer(const Plan& plan, const Weights& weights, const Arrays& arrays, int team);

}  // namespace pointwise
