// New result arrays, in recycled memory where they are large.
#pragma once

#include "arrays.h"

namespace pointwise_python {

// The type that owns a result's memory: the base of the array, and of its views, which keep it alive.
PyObject* make_result_memory_type();

// A new C-contiguous array. MemoryError, or ValueError where an address cannot count its bytes.
Ref new_result(const pointwise::Shape& shape, pointwise::DType dtype);

}  // namespace pointwise_python
