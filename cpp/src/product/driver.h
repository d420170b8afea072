// Runs a plan.
#pragma once

#include "product/packing.h"
#include "product/plan.h"

namespace pointwise {

// Pointers to the first elements of the arrays of a call.
struct Arrays {
  const char* src;
  char* dst;
  const char* residual = nullptr;  // null if there is none
  const char* scale = nullptr;     // input_scale; null if there is none
};

// Runs a plan on at most `team` threads. The threads flush subnormals if weights.flush_subnormals is true. May throw
// std::bad_alloc, but only before the first write to dst.
void run_plan(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, int team);

// Runs a plan on the calling thread. `scratch` must have plan.workspace.bytes() bytes and be 64-byte aligned. A
// FloatEnvironment with weights.flush_subnormals must be in effect on this thread. Does not throw.
void run_serially(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, char* scratch);

}  // namespace pointwise
