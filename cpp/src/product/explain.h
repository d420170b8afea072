// Describes plans in words, for Layer::explain and QuantizedLayer::explain.
#pragma once

#include <string>

#include "product/plan.h"

namespace pointwise {

const char* packing_words(Packing packing);
std::string size_words(int64_t bytes);
// Returns the first line of a description: the instruction set, the L2 cache, and the team out of `threads` threads.
std::string team_words(int team, int threads, int64_t pieces);
std::string explain_plan(const Plan& plan, int threads);

}  // namespace pointwise
