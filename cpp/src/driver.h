// Runs a plan.
#pragma once

#include "packing.h"
#include "plan.h"

namespace pointwise {

// src, dst and residual point at the first element of the arrays that the plan was made for. Throws std::bad_alloc
// before anything is written.
template <class T>
void run_plan(const Plan& plan, const PackedWeights<T>& weights, const char* src, char* dst, const char* residual,
              const Activation& activation, int team);

}  // namespace pointwise
