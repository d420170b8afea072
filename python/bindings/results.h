// New result arrays. Large ones use recycled memory (memory/result_pool.h).
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Creates the type that owns the memory of a result. Its object is the base of the array and of its views, which keep
// it alive.
PyObject* make_result_memory_type();

// Returns a new C-contiguous array. Sets a MemoryError, or a ValueError if its bytes exceed the range of addresses, and
// throws PythonError.
Ref new_result(const pointwise::Shape& shape, pointwise::DType dtype);

}  // namespace pointwise_python
