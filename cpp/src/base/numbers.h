// Single numbers of a type that is known at run time. Every type here is exact in double.
#pragma once

#include "base/types.h"

namespace pointwise {

double read_number(DType dtype, const void* from);
// Rounds to nearest, in the default floating-point environment; integers must be in range.
void write_number(DType dtype, void* to, double value);
double smallest_normal(DType dtype);  // 0 for integers

}  // namespace pointwise
