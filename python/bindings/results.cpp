#include "results.h"

#include <new>
#include <utility>

#include "measure/internal.h"

namespace pointwise_python {

using pointwise::Buffer;
using pointwise::DType;

namespace {

struct ResultMemory {
  PyObject_HEAD Buffer buffer;
};

PyTypeObject* result_memory_type = nullptr;

void result_memory_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  const Buffer buffer = reinterpret_cast<ResultMemory*>(self)->buffer;
  pointwise::give_buffer(buffer);
  type->tp_free(self);
  Py_DECREF(type);
}

PyType_Slot result_memory_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(result_memory_dealloc)},
    {Py_tp_doc, const_cast<char*>("Memory of a result, which is recycled when no array uses it any more.")},
    {0, nullptr}};

PyType_Spec result_memory_spec = {"pointwise._core.ResultMemory", sizeof(ResultMemory), 0, Py_TPFLAGS_DEFAULT,
                                  result_memory_slots};

// Returns the bytes of an array, or -1 if they exceed int64. NumPy refuses such an array in new_result.
int64_t size_of(int rank, const int64_t* sizes, DType dtype) {
  int64_t bytes = pointwise::item_size(dtype);
  for (int i = 0; i < rank; ++i)
    if (sizes[i] == 0) return 0;
  for (int i = 0; i < rank; ++i)
    if (!pointwise::checked_multiply(bytes, sizes[i], &bytes)) return -1;
  return bytes;
}

Ref new_memory(int64_t bytes, const std::string& shape) {
  Buffer buffer;
  try {
    buffer = pointwise::take_buffer(bytes);
  } catch (const std::bad_alloc&) {
    raise(PyExc_MemoryError,
          "not enough memory for a result of shape " + shape + ", " + std::to_string(bytes) + " bytes");
  }
  PyObject* memory = result_memory_type->tp_alloc(result_memory_type, 0);
  if (memory == nullptr) {
    pointwise::give_buffer(buffer);
    throw PythonError{};
  }
  reinterpret_cast<ResultMemory*>(memory)->buffer = buffer;
  return Ref(memory);
}

}  // namespace

PyObject* make_result_memory_type() {
  PyObject* type = PyType_FromSpec(&result_memory_spec);
  result_memory_type = reinterpret_cast<PyTypeObject*>(type);
  return type;
}

Ref new_result(int rank, const int64_t* given_sizes, DType dtype) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t), "sizes may be read as NumPy's");
  const npy_intp* const sizes = reinterpret_cast<const npy_intp*>(given_sizes);
  const int64_t bytes = size_of(rank, given_sizes, dtype);
  if (bytes < pointwise::least_pooled) {
    Ref array(PyArray_New(&PyArray_Type, rank, sizes, type_number(dtype), nullptr, nullptr, 0, 0, nullptr));
    if (!array && PyErr_ExceptionMatches(PyExc_ValueError)) {  // more bytes than npy_intp can hold
      PyErr_Clear();
      raise(PyExc_ValueError, "x and padding must give a result that an array can hold, got a result of shape " +
                                  shape_text(rank, given_sizes));
    }
    return std::move(array).checked();
  }
  Ref memory = new_memory(bytes, shape_text(rank, given_sizes));
  void* data = reinterpret_cast<ResultMemory*>(memory.get())->buffer.data;
  Ref array =
      Ref(PyArray_New(&PyArray_Type, rank, sizes, type_number(dtype), nullptr, data, 0, NPY_ARRAY_CARRAY, nullptr))
          .checked();
  // PyArray_SetBaseObject takes the reference even if it fails.
  if (PyArray_SetBaseObject(array.array(), memory.release()) < 0) throw PythonError{};
  return array;
}

}  // namespace pointwise_python
