// A plan in words.
#pragma once

#include <string>

#include "product/plan.h"

namespace pointwise {

const char* packing_words(Packing packing);
std::string explain_plan(const Plan& plan, int threads);

}  // namespace pointwise
