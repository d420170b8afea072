// Makes new result arrays. Large results use recycled memory (memory/result_pool.h).
#pragma once

#include "arrays.h"

namespace pointwise_python {

// Creates the type that owns the memory of a result. An object of this type is the base of the array and of the array's
// views. The array and its views keep the object alive.
PyObject* make_result_memory_type();

// Returns a new C-contiguous array. If there is not enough memory, sets a MemoryError and throws PythonError. If the
// array would exceed the range of addresses, sets a ValueError and throws PythonError.
Ref new_result(int rank, const int64_t* sizes, pointwise::DType dtype);

}  // namespace pointwise_python
