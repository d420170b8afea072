// Runs a plan.
#pragma once

#include "product/packing.h"
#include "product/plan.h"

namespace pointwise {

// The first elements of the arrays that a plan was made for.
struct Arrays {
  const char* src;
  char* dst;
  const char* residual = nullptr;  // or null
  const char* scale = nullptr;     // of input channels; or null
};

// In the floating-point state that the weights' layer asks for. Throws std::bad_alloc before anything is written.
void run_plan(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, int team);

// On this thread alone, in memory of plan.workspace.bytes() bytes, 64-byte aligned; the caller has set the
// floating-point state. Throws nothing.
void run_serially(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, char* scratch);

}  // namespace pointwise
