// Reads and writes single numbers of a dtype that is known only at run time. A double holds every number of every dtype
// exactly.
#pragma once

#include "base/types.h"

namespace pointwise {

double read_number(DType dtype, const void* from);
// Writes a value. Rounds it to nearest, half to even, if the caller has the default floating-point state. A value that
// is out of range of an integer dtype becomes the end of the range, and NaN becomes 0.
void write_number(DType dtype, void* to, double value);
double smallest_normal(DType dtype);  // 0 for integers

}  // namespace pointwise
