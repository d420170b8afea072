// Random convolutions: their arguments, and arrays with all kinds of strides that a view can have.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "numbers.h"
#include "pointwise/pointwise.h"

namespace pointwise_tests {

using pointwise::Options;
using pointwise::Shape;
using pointwise::View;

constexpr const char* all_layouts[] = {"NCHW", "NHWC", "NCW", "NWC", "NCDHW", "NDHWC", "NC",
                                       "CHW",  "HWC",  "CW",  "WC",  "CDHW",  "DHWC",  "C"};

inline int64_t elements(const Shape& shape) {
  int64_t n = 1;
  for (int i = 0; i < shape.rank; ++i) n *= shape[i];
  return n;
}

// An array in a larger piece of memory. All of this memory is filled.
template <class T>
struct Array {
  std::vector<char> memory;
  View view;

  Array() = default;
  Array(const Array& other) : memory(other.memory), view(other.view) { rebase(other); }
  Array& operator=(const Array& other) {
    memory = other.memory;
    view = other.view;
    rebase(other);
    return *this;
  }

  // Returns the address of an element. `index` has an index for each axis.
  char* at(const std::array<int64_t, pointwise::max_rank>& index) const {
    ptrdiff_t offset = 0;
    for (int i = 0; i < view.shape.rank; ++i) offset += index[i] * view.strides[i];
    return static_cast<char*>(view.data) + offset;
  }
  // Returns all elements in C order.
  std::vector<T> values() const {
    std::vector<T> all(static_cast<size_t>(elements(view.shape)));
    std::array<int64_t, pointwise::max_rank> index{};
    for (T& v : all) {
      std::memcpy(&v, at(index), sizeof(T));
      for (int i = view.shape.rank - 1; i >= 0 && ++index[i] == view.shape[i]; --i) index[i] = 0;
    }
    return all;
  }

 private:
  void rebase(const Array& other) {
    if (view.data) view.data = memory.data() + (static_cast<const char*>(other.view.data) - other.memory.data());
  }
};

struct Lies {
  bool permuted = false;    // axes in any order in memory
  bool gaps = false;        // strides that skip elements
  bool negative = false;    // some axes have negative strides
  bool misaligned = false;  // the address is odd
  bool repeated = false;    // some axes have stride 0; only for arrays that are not written
};

inline Lies random_lies(Random& random, bool read_only) {
  return {random.one_in(2), random.one_in(3), random.one_in(3), random.one_in(4), read_only && random.one_in(6)};
}

// Returns an array. `number()` fills all of its memory, gaps included.
template <class T, class Number>
Array<T> make_array(const Shape& shape, const Lies& lies, Random& random, const Number& number) {
  Array<T> array;
  array.view.dtype = dtype_of<T>();
  array.view.shape = shape;
  std::array<int, pointwise::max_rank> order{0, 1, 2, 3, 4};
  if (lies.permuted)
    for (int i = shape.rank - 1; i > 0; --i) std::swap(order[i], order[random.integer(0, i)]);
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    const int axis = order[i];
    if (lies.gaps && random.one_in(3)) step *= 2;
    array.view.strides[axis] = step * static_cast<ptrdiff_t>(sizeof(T));
    step *= std::max<int64_t>(shape[axis], 1);
    if (lies.gaps) step += random.integer(0, 2);
  }
  const std::vector<T> filling = [&] {
    std::vector<T> numbers(static_cast<size_t>(step));
    for (T& v : numbers) v = number();
    return numbers;
  }();
  const ptrdiff_t shift = lies.misaligned ? 1 : 0;
  array.memory.resize(filling.size() * sizeof(T) + shift);
  std::memcpy(array.memory.data() + shift, filling.data(), filling.size() * sizeof(T));
  array.view.data = array.memory.data() + shift;
  for (int axis = 0; axis < shape.rank; ++axis) {
    ptrdiff_t& stride = array.view.strides[axis];
    if (lies.repeated && random.one_in(3)) stride = 0;
    if (lies.negative && shape[axis] > 0 && random.one_in(2)) {
      array.view.data = static_cast<char*>(array.view.data) + stride * (shape[axis] - 1);
      stride = -stride;
    }
  }
  return array;
}

struct Problem {
  Options options;
  Shape src;
  int64_t inputs, c_out;  // `inputs` is the number of input channels of a group
  bool bias, residual, scaled;
  int threads;

  // Returns the shape of input scales.
  Shape scales() const {
    const size_t batch = options.layout.find('N');
    const int64_t channels = inputs * options.groups;
    return batch == std::string::npos ? Shape{channels} : Shape{src[static_cast<int>(batch)], channels};
  }

  std::string text() const {
    std::string text = options.layout + " " + to_string(src) + " -> " + std::to_string(c_out) + " channels, stride";
    for (const int64_t s : options.stride) text += " " + std::to_string(s);
    text += ", padding";
    for (const int64_t p : options.padding) text += " " + std::to_string(p);
    return text + ", groups " + std::to_string(options.groups) + (bias ? ", bias" : "") +
           (residual ? ", residual" : "") + (scaled ? ", input scale" : "") + ", activation " +
           std::to_string(static_cast<int>(options.activation.kind)) + ", threads " + std::to_string(threads);
  }
};

inline Problem random_problem(Random& random, pointwise::DType dtype) {
  Problem p;
  Options& o = p.options;
  o.dtype = dtype;
  o.layout = all_layouts[random.integer(0, std::size(all_layouts) - 1)];
  const auto is_spatial = [](char axis) { return axis == 'D' || axis == 'H' || axis == 'W'; };
  const auto spatial = std::count_if(o.layout.begin(), o.layout.end(), is_spatial);
  const bool each = spatial > 0 && random.one_in(2);
  o.stride.assign(each ? spatial : 1, 1);
  o.padding.assign(each ? spatial : 1, 0);
  for (int64_t& s : o.stride) s = random.one_in(2) ? 1 : random.integer(1, 4);
  for (int64_t& q : o.padding) q = random.one_in(3) ? random.integer(0, 3) : 0;
  o.groups = random.one_in(3) ? random.integer(2, 4) : 1;
  // These activations are exact on small integers, and do not increase an error.
  const pointwise::Activation activations[] = {{},
                                               {},
                                               pointwise::Activation::relu(),
                                               pointwise::Activation::relu(),
                                               pointwise::Activation::relu6(),
                                               pointwise::Activation::clip(-9, 4),
                                               pointwise::Activation::leaky_relu(0.5)};
  o.activation = activations[random.integer(0, std::size(activations) - 1)];
  p.inputs = random.one_in(10) ? random.integer(0, 300) : random.integer(1, 40);
  p.c_out = o.groups * (random.one_in(2) ? random.integer(0, 100) : random.integer(1, 20));
  p.src.rank = static_cast<int>(o.layout.size());
  const int64_t most = spatial == 1 ? 200 : spatial == 2 ? 20 : 7;
  for (int i = 0; i < p.src.rank; ++i)
    p.src[i] = o.layout[i] == 'C'   ? p.inputs * o.groups
               : o.layout[i] == 'N' ? random.integer(random.one_in(8) ? 0 : 1, 3)
                                    : random.integer(random.one_in(8) ? 0 : 1, most);
  if (random.one_in(8)) {
    std::vector<double> slopes(static_cast<size_t>(p.c_out));
    for (double& slope : slopes) slope = static_cast<double>(random.integer(-4, 4)) / 4;
    o.activation = pointwise::Activation::prelu(slopes);
  }
  p.bias = random.one_in(2);
  p.residual = random.one_in(2);
  p.scaled = random.one_in(3);
  p.threads = static_cast<int>(random.integer(1, 3));
  return p;
}

}  // namespace pointwise_tests
