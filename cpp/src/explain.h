// A plan in words.
#pragma once

#include <string>

#include "plan.h"

namespace pointwise {

std::string explain_plan(const Plan& plan, DType dtype, int threads);

}  // namespace pointwise
