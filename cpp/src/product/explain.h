// Describes plans in words, for Layer::explain.
#pragma once

#include <string>

#include "product/plan.h"

namespace pointwise {

const char* packing_words(Packing packing);
std::string explain_plan(const Plan& plan, int threads);

}  // namespace pointwise
