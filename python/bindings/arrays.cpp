#include "arrays.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "gil.h"
#include "measure/internal.h"

namespace pointwise_python {

using pointwise::Argument;
using pointwise::DType;
using pointwise::info;
using pointwise::Shape;
using pointwise::View;

namespace {

// Returns the Python name of an argument of the core.
const char* python_name(Argument argument) {
  switch (argument) {
    case Argument::src: return "x";
    case Argument::weights: return "weight";
    case Argument::bias: return "bias";
    case Argument::residual: return "residual";
    case Argument::dst: return "out";
    case Argument::layout: return "layout";
    case Argument::stride: return "stride";
    case Argument::padding: return "padding";
    case Argument::groups: return "groups";
    case Argument::activation: return "activation";
    case Argument::dtype: return "dtype";
    case Argument::dst_dtype: return "out_dtype";
    case Argument::input_scale: return "input_scale";
    case Argument::layers: return "layers";
    case Argument::grad: return "grad";
    case Argument::src_scale: return "x_scale";
    case Argument::src_zero: return "x_zero_point";
    case Argument::weight_scales: return "weight_scale";
    case Argument::weight_zeros: return "weight_zero_point";
    case Argument::dst_scale: return "y_scale";
    case Argument::dst_zero: return "y_zero_point";
    case Argument::seconds: return "seconds";
    case Argument::weight_dtype: return "weight_dtype";
  }
  return "argument";
}

struct NumPyType {
  DType dtype;
  int number;
};
constexpr int registered = -1;  // the type is not part of NumPy, so its number is known only at run time
constexpr NumPyType numpy_types[] = {{DType::f32, NPY_FLOAT}, {DType::f64, NPY_DOUBLE},  {DType::u8, NPY_UBYTE},
                                     {DType::i8, NPY_BYTE},   {DType::u16, NPY_USHORT},  {DType::i16, NPY_SHORT},
                                     {DType::f16, NPY_HALF},  {DType::bf16, registered}, {DType::i32, NPY_INT}};
static_assert(sizeof(numpy_types) / sizeof(numpy_types[0]) == pointwise::type_count, "every type has a number");

// Types by NumPy's type number. Null for a type that the core does not have.
struct TypesByNumber {
  const NumPyType* type[NPY_NTYPES_LEGACY] = {};
  constexpr TypesByNumber() {
    for (const NumPyType& t : numpy_types)
      if (t.number != registered) type[t.number] = &t;
  }
};
constexpr TypesByNumber types_by_number;

// The number of the type bfloat16 of ml_dtypes, or `registered` before it is needed for the first time.
std::atomic<int> bfloat16_number{registered};

// Returns the number of bfloat16. Imports ml_dtypes in the first call.
int find_bfloat16() {
  int number = bfloat16_number.load(std::memory_order_relaxed);
  if (number != registered) return number;
  const Ref found = call_function("bfloat16_number", "");
  number = static_cast<int>(PyLong_AsLong(found.get()));
  if (number == -1 && PyErr_Occurred()) throw PythonError{};
  bfloat16_number.store(number, std::memory_order_relaxed);
  return number;
}

// Returns the type with a number of NumPy, or null if the core does not have the type.
const NumPyType* known_type(int number) {
  if (number >= 0 && number < NPY_NTYPES_LEGACY) return types_by_number.type[number];
  return number >= 0 && number == bfloat16_number.load(std::memory_order_relaxed)
             ? &numpy_types[static_cast<int>(DType::bf16)]
             : nullptr;
}

// Returns the type of a dtype, or null if the core does not have the type.
const NumPyType* known_type(PyArray_Descr* descr) {
  const NumPyType* const type = known_type(descr->type_num);
  if (type != nullptr || !PyTypeNum_ISUSERDEF(descr->type_num)) return type;
  const char* const name = std::strrchr(descr->typeobj->tp_name, '.');
  if (std::strcmp(name == nullptr ? descr->typeobj->tp_name : name + 1, "bfloat16") != 0) return nullptr;
  find_bfloat16();
  return known_type(descr->type_num);
}

// Returns the type if x of a convolution may have it, else null. Only quantized convolutions use int32.
const NumPyType* source_type(PyArray_Descr* descr) {
  const NumPyType* const type = known_type(descr);
  return type != nullptr && type->dtype != DType::i32 ? type : nullptr;
}

bool is_built(PyArrayObject* array) {
  return source_type(PyArray_DESCR(array)) != nullptr && PyArray_ISNOTSWAPPED(array);
}

void copy_axes(PyArrayObject* array, int rank, View* view) {
  view->data = PyArray_DATA(array);
  view->dtype = dtype_of(array);
  view->shape.rank = rank;
  for (int i = 0; i < rank; ++i) {
    view->shape[i] = PyArray_DIM(array, i);
    view->strides[i] = PyArray_STRIDE(array, i);
    asm("");  // stops the compiler from turning this short loop into two calls of memcpy, which are slower
  }
}

// Sets the default floating-point environment for the lifetime of the object. NumPy casts in the environment of the
// caller. In the default environment, a cast rounds to nearest and keeps subnormal numbers.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

// The range of bytes that contains all elements of an array. The range is empty if the array has no elements.
struct Extent {
  uintptr_t begin = 0, end = 0;
  explicit Extent(PyArrayObject* array) {
    if (PyArray_SIZE(array) == 0) return;  // its strides are arbitrary
    uintptr_t low = reinterpret_cast<uintptr_t>(PyArray_DATA(array)), high = low;
    for (int i = 0; i < PyArray_NDIM(array); ++i) {
      const npy_intp size = PyArray_DIM(array, i), step = PyArray_STRIDE(array, i);
      (step < 0 ? low : high) += static_cast<uintptr_t>((size - 1) * step);
    }
    begin = low;
    end = high + PyArray_ITEMSIZE(array);
  }
  bool meets(const Extent& o) const { return begin < o.end && o.begin < end; }
};

// Sorts the axes by stride. Returns true if each axis steps over all bytes that the axes with smaller strides reach.
// Then no two indices refer to one element. If the result is false, check_overlap in Python decides exactly.
bool steps_over_itself(PyArrayObject* array) {
  if (PyArray_IS_C_CONTIGUOUS(array) || PyArray_SIZE(array) == 0) return true;
  constexpr int most_axes = 64;  // of any array in NumPy 2; NumPy 1 allows 32
  std::pair<npy_intp, npy_intp> axes[most_axes];
  int count = 0;
  for (int i = 0; i < PyArray_NDIM(array); ++i)
    if (PyArray_DIM(array, i) != 1) axes[count++] = {std::abs(PyArray_STRIDE(array, i)), PyArray_DIM(array, i)};
  std::sort(axes, axes + count);
  npy_intp reach = PyArray_ITEMSIZE(array);
  for (int i = 0; i < count; ++i) {
    if (axes[i].first < reach) return false;
    reach += (axes[i].second - 1) * axes[i].first;
  }
  return true;
}

}  // namespace

void raise(PyObject* type, const std::string& message) {
  PyErr_SetString(type, message.c_str());
  throw PythonError{};
}

void translate_exception(const char* src) {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const pointwise::Error& error) {
    const char* name = error.argument() == Argument::src ? src : python_name(error.argument());
    PyErr_SetString(PyExc_ValueError, (std::string(name) + " " + error.detail()).c_str());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "not enough memory for the packed weight or the workspace");
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

namespace {
PyObject* functions = nullptr;  // the dictionary of use_functions, kept until the process ends
}

PyObject* use_functions(PyObject*, PyObject* given) {
  if (!PyDict_CheckExact(given)) {
    PyErr_Format(PyExc_TypeError, "functions must be a dict, got %s", Py_TYPE(given)->tp_name);
    return nullptr;
  }
  PyObject* const before = functions;
  Py_INCREF(given);
  functions = given;
  Py_XDECREF(before);
  Py_RETURN_NONE;
}

Ref call_function(const char* name, const char* format, ...) {
  PyObject* const function = functions == nullptr ? nullptr : PyDict_GetItemString(functions, name);
  if (function == nullptr)
    raise(PyExc_RuntimeError, std::string("use_functions must be given a function ") + name + ", got none");
  va_list values;
  va_start(values, format);
  const Ref arguments(Py_VaBuildValue((std::string("(") + format + ")").c_str(), values));
  va_end(values);
  if (!arguments) throw PythonError{};
  return Ref(in_python([&] { return PyObject_CallObject(function, arguments.get()); })).checked();
}

int type_number(DType dtype) {
  const int number = numpy_types[static_cast<int>(dtype)].number;
  return number == registered ? find_bfloat16() : number;
}

DType dtype_of(PyArrayObject* array) {
  const NumPyType* type = known_type(PyArray_DESCR(array));
  if (type == nullptr)
    raise(PyExc_TypeError, "arrays must keep their dtype while other arguments are converted, got another dtype");
  return type->dtype;
}
const char* dtype_name(DType dtype) { return pointwise::info(dtype).name; }

DType dtype_named(const std::string& name) {
  for (const NumPyType& type : numpy_types)
    if (info(type.dtype).floating && name == dtype_name(type.dtype)) return type.dtype;
  raise(PyExc_TypeError, "dtype must be float32, float64, float16 or bfloat16, got " + name);
}

DType source_dtype_named(const std::string& name) {
  for (const NumPyType& type : numpy_types)
    if (name == dtype_name(type.dtype)) return type.dtype;
  raise(PyExc_TypeError, "dtype must be a dtype of x, got " + name);
}

namespace {
bool has_dtype(PyArrayObject* array, DType dtype) {
  const NumPyType* const type = known_type(PyArray_DESCR(array));
  return type != nullptr && type->dtype == dtype && PyArray_ISNOTSWAPPED(array);
}
}  // namespace

Ref source_array(PyObject* object, const char* name) {
  if (PyArray_CheckExact(object) && is_built(reinterpret_cast<PyArrayObject*>(object))) return Ref::borrow(object);
  return call_function("as_source", "Os", object, name);
}

Ref parameter_array(PyObject* object, DType dtype, const char* name) {
  if (PyArray_CheckExact(object)) {
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
    if (has_dtype(array, dtype)) return Ref::borrow(object);
  }
  const DefaultFloatEnvironment environment;
  return call_function("as_parameter", "Oss", object, dtype_name(dtype), name);
}

PyArrayObject* given_array(PyObject* object, PyArrayObject* converted) {
  return converted && PyArray_Check(object) ? reinterpret_cast<PyArrayObject*>(object) : converted;
}

Ref quantized_array(PyObject* object, DType dtype, const char* name) {
  if (PyArray_CheckExact(object) && PyArray_TYPE(reinterpret_cast<PyArrayObject*>(object)) == type_number(dtype))
    return Ref::borrow(object);
  return call_function("as_quantized", "Oss", object, dtype_name(dtype), name);
}

std::string shape_text(int rank, const int64_t* sizes) {
  std::string text = "(";
  for (int i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + (rank == 1 ? ",)" : ")");
}

std::string shape_text(PyArrayObject* array) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t), "sizes may be read as NumPy's");
  return shape_text(PyArray_NDIM(array), reinterpret_cast<const int64_t*>(PyArray_DIMS(array)));
}

View view_of(PyArrayObject* array, const char* name, const std::string& layout) {
  const int rank = static_cast<int>(layout.size());
  if (PyArray_NDIM(array) != rank)
    raise(PyExc_ValueError, std::string(name) + " must have the " + std::to_string(rank) + " axes of layout " + layout +
                                ", got shape " + shape_text(array));
  View view;
  copy_axes(array, rank, &view);
  return view;
}

View source_view(PyArrayObject* array, const std::string& layout) {
  const int rank = PyArray_NDIM(array);
  if (rank > pointwise::max_rank) return view_of(array, "x", layout);  // raises
  View view;
  copy_axes(array, rank, &view);
  return view;
}

View weight_view(PyArrayObject* array) {
  bool ones = PyArray_NDIM(array) >= 2;
  for (int i = 2; i < PyArray_NDIM(array); ++i) ones = ones && PyArray_DIM(array, i) == 1;
  if (!ones) {
    const bool keras = PyArray_NDIM(array) == 4 && PyArray_DIM(array, 0) == 1 && PyArray_DIM(array, 1) == 1;
    raise(PyExc_ValueError,
          "weight must have shape (output channels, input channels / groups), and further axes must have length 1, "
          "got " +
              shape_text(array) + (keras ? "; for a weight of Keras, pass weight[0, 0].T" : ""));
  }
  View view;
  copy_axes(array, 2, &view);
  return view;
}

View bias_view(PyArrayObject* array) {
  if (PyArray_NDIM(array) != 1)
    raise(PyExc_ValueError, "bias must have shape (output channels,), got " + shape_text(array));
  View view;
  copy_axes(array, 1, &view);
  return view;
}

View scale_view(PyArrayObject* array, const std::string& layout) {
  const size_t batch = layout.find('N'), channels = layout.find('C');
  const int rank = PyArray_NDIM(array), kept = batch == std::string::npos ? 1 : 2;
  View view;
  copy_axes(array, std::min(rank, pointwise::max_rank), &view);
  if (rank == kept) return view;
  bool ones = rank == static_cast<int>(layout.size());
  for (size_t i = 0; ones && i < layout.size(); ++i) ones = i == batch || i == channels || view.shape[i] == 1;
  if (!ones)
    raise(PyExc_ValueError, std::string("input_scale must have shape ") +
                                (kept == 2 ? "(images, input channels)" : "(input channels,)") +
                                ", or the axes of x with spatial axes of length 1, got " + shape_text(array));
  const View whole = view;
  view.shape = kept == 2 ? Shape{whole.shape[batch], whole.shape[channels]} : Shape{whole.shape[channels]};
  view.strides = {};
  view.strides[kept - 1] = whole.strides[channels];
  if (kept == 2) view.strides[0] = whole.strides[batch];
  return view;
}

DType check_dtype(PyObject* object, const std::vector<DType>& dtypes, const char* name) {
  if (PyArray_CheckExact(object)) {
    PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
    for (const DType dtype : dtypes)
      if (has_dtype(array, dtype)) return dtype;
  }
  std::string names;
  for (const DType dtype : dtypes) names += std::string(names.empty() ? "" : " ") + dtype_name(dtype);
  call_function("check_array", "Oss", object, names.c_str(), name);
  return dtype_of(reinterpret_cast<PyArrayObject*>(object));
}

std::optional<DType> result_dtype(PyObject* out_dtype) {
  if (out_dtype == nullptr || out_dtype == Py_None) return std::nullopt;
  // Converts dtypes, names, and NumPy's types such as numpy.uint8. Other objects are rare, so a Python function
  // converts them.
  if (PyArray_DescrCheck(out_dtype) || PyUnicode_CheckExact(out_dtype) ||
      (PyType_Check(out_dtype) &&
       PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(out_dtype), &PyGenericArrType_Type))) {
    PyArray_Descr* descr = nullptr;
    if (PyArray_DescrConverter(out_dtype, &descr) == NPY_SUCCEED && descr != nullptr) {
      const NumPyType* const type = source_type(descr);
      const bool native = PyArray_ISNBO(descr->byteorder);
      Py_DECREF(descr);
      if (type != nullptr && native) return type->dtype;
    }
    PyErr_Clear();
  }
  const Ref name = call_function("as_out_dtype", "O", out_dtype);
  const char* text = PyUnicode_AsUTF8(name.get());
  if (text == nullptr) throw PythonError{};
  return source_dtype_named(text);
}

void check_result_dtype(DType result, DType x, const char* who) {
  const DType layer = layer_dtype(x);
  if (pointwise::may_give(layer, x, result)) return;
  const bool call = std::strcmp(who, "call") == 0, integer_x = !info(x).floating;
  if (info(result).floating) {
    if (!call) return;  // x does not have the dtype of the layer, either
    raise(PyExc_TypeError,
          "out_dtype must be " + std::string(sum_dtype(x) == DType::f64 ? "float64" : "float32, float16 or bfloat16") +
              (integer_x ? ", or uint8, int8, uint16 or int16," : "") + " for x of dtype " + dtype_name(x) + ", got " +
              dtype_name(result) + ": pass x.astype(" + dtype_code(result) + ")");
  }
  raise(PyExc_TypeError, "x must be uint8, int8, uint16 or int16 for out_dtype " + std::string(dtype_name(result)) +
                             ", got " + dtype_name(x) + ": " +
                             (call ? "omit out_dtype" : "create the layer without out_dtype") +
                             ", and convert the result");
}

DType layer_dtype(DType x) { return info(x).floating ? x : info(x).sum; }
DType sum_dtype(DType dtype) { return info(dtype).sum; }

std::string dtype_code(DType dtype) {
  return std::string(dtype == DType::bf16 ? "ml_dtypes." : "numpy.") + dtype_name(dtype);
}

void check_settled(PyArrayObject* array, DType dtype, const char* name) {
  if (array == nullptr) return;
  if (!PyArray_Check(array))
    raise(PyExc_TypeError, std::string(name) + " must be an array, got " + Py_TYPE(array)->tp_name);
  if (!has_dtype(array, dtype))
    raise(PyExc_TypeError, std::string(name) + " must keep dtype " + dtype_name(dtype) +
                               " while other arguments are converted, got another dtype");
}

void check_out(PyArrayObject* out, PyArrayObject* x, PyArrayObject* residual, PyArrayObject* weight,
               PyArrayObject* bias, PyArrayObject* input_scale, const char* weight_name) {
  if (!PyArray_ISWRITEABLE(out)) raise(PyExc_ValueError, "out must be writable, got a read-only array");
  const Extent written(out);
  bool clear = steps_over_itself(out);
  for (PyArrayObject* other : {x, residual, weight, bias, input_scale})
    clear = clear && (other == nullptr || !written.meets(Extent(other)));
  if (clear) return;
  const auto given = [](PyArrayObject* a) { return a ? reinterpret_cast<PyObject*>(a) : Py_None; };
  call_function("check_overlap", "OOOOOOs", given(out), given(x), given(residual), given(weight), given(bias),
                given(input_scale), weight_name);
}

}  // namespace pointwise_python
