// One call of a kernel row, with its arrays in guarded memory, and the expected result.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "guarded.h"
#include "kernels/registry.h"
#include "numbers.h"
#include "product/packing.h"

namespace pointwise_tests {

using pointwise::Block;
using pointwise::KernelRow;
using pointwise::KernelTable;
using pointwise::Reads;
using pointwise::Rows;

// The placement of an array of pixels x channels in memory.
enum class Lie { channel_major, pixel_major, both_strided, negative, misaligned, uneven };
constexpr Lie all_lies[] = {Lie::channel_major, Lie::pixel_major, Lie::both_strided,
                            Lie::negative,      Lie::misaligned,  Lie::uneven};
inline const char* to_string(Lie lie) {
  constexpr const char* names[] = {"channel-major", "pixel-major", "both strided", "negative", "misaligned", "uneven"};
  return names[static_cast<int>(lie)];
}

// Returns true if a kernel row can read x placed in this way.
inline bool can_read(const KernelRow& row, Lie x) {
  switch (row.reads) {
    case Reads::pixels: return x == Lie::channel_major;
    case Reads::channels: return x == Lie::pixel_major || x == Lie::misaligned;
    case Reads::own: return false;
    case Reads::any: break;
  }
  return x != Lie::uneven;
}
// Returns a placement of x that a kernel row can read.
inline Lie lie_for(const KernelRow& row) { return row.reads == Reads::pixels ? Lie::channel_major : Lie::pixel_major; }

// Byte offsets of the elements, relative to the element with the lowest address.
struct Placement {
  ptrdiff_t pixel = 0, channel = 0, first = 0;
  std::vector<ptrdiff_t> offsets;  // offsets of pixels, if they are not evenly spaced
  ptrdiff_t extent = 0;            // bytes from the start of the lowest element to the end of the highest element

  ptrdiff_t at(int64_t p, int64_t c) const {
    return first + (offsets.empty() ? p * pixel : offsets[static_cast<size_t>(p)]) + c * channel;
  }
};

inline Placement place(Lie lie, int64_t pixels, int64_t channels, ptrdiff_t item) {
  Placement a;
  switch (lie) {
    case Lie::channel_major: a.pixel = item, a.channel = pixels * item; break;
    case Lie::pixel_major: a.pixel = channels * item, a.channel = item; break;
    case Lie::both_strided: a.pixel = 3 * item, a.channel = (3 * pixels + 2) * item; break;
    case Lie::negative: a.pixel = -item, a.channel = -(pixels + 1) * item; break;
    case Lie::misaligned: a.pixel = channels * item + 1, a.channel = item; break;
    case Lie::uneven:  // ranges with gaps between them, as around a padded image; the last range comes first
      a.channel = item;
      for (int64_t p = 0; p < pixels; ++p)
        a.offsets.push_back(((p + pixels / 2) % pixels * channels + (p + pixels / 2) % pixels / 3 * 2) * item);
      break;
  }
  ptrdiff_t low = 0, high = 0;
  for (int64_t p = 0; p < pixels; ++p)
    for (const int64_t c : {int64_t{0}, channels - 1}) {
      low = std::min(low, a.at(p, c));
      high = std::max(high, a.at(p, c));
    }
  a.first = -low;
  a.extent = high - low + item;
  return a;
}

struct Shape3 {
  int64_t pixels, channels, inputs;
};

// The memory of a case. The next case uses the same memory again.
struct Arena {
  GuardedMemory x{1 << 20}, weights{1 << 20}, bias{1 << 16}, residual{1 << 20}, copy{1 << 16}, room{1 << 20};
};

// Returns true if a KernelCase suits the kernel row: its output channels read all input channels, and all numbers have
// the dtype of the sums.
inline bool takes_cases(const KernelRow& row) { return row.reads != Reads::own && row.types.x == row.types.sum; }

template <class T>
struct KernelCase {
  static constexpr ptrdiff_t item = sizeof(T);
  static constexpr int64_t width = pointwise::panel_width<T>();
  static constexpr ptrdiff_t guard = 128;

  Shape3 shape;
  bool at_end;                                // true: x ends before a page that faults; false: x begins after one
  std::vector<T> x, weights, bias, residual;  // [pixel][input], [channel][input], [channel], [pixel][channel]
  Placement x_place, y_place, residual_place;
  T floor = -std::numeric_limits<T>::infinity();
  T slope = 1;          // factor for negative sums
  std::vector<char> y;  // y and the guard bytes around it
  Block block{};

  // Fills the arrays with small random integers. A Lie gives the placement of each array.
  KernelCase(Shape3 s, Lie x_lie, Lie y_lie, Lie residual_lie, bool with_residual, bool x_at_end, Random& random)
      : shape(s), at_end(x_at_end) {
    x = small_integers<T>(s.pixels * s.inputs, random);
    weights = small_integers<T>(s.channels * s.inputs, random);
    bias = small_integers<T>(s.channels, random);
    if (with_residual) residual = small_integers<T>(s.pixels * s.channels, random);
    x_place = place(x_lie, s.pixels, s.inputs, item);
    y_place = place(y_lie, s.pixels, s.channels, item);
    residual_place = place(residual_lie, s.pixels, s.channels, item);
  }

  // Places the arrays and fills `block`. `shift` is the number of bytes by which y and the residual are misaligned.
  void lay_out(Arena* arena, ptrdiff_t shift) {
    block.pixels = shape.pixels;
    block.channels = shape.channels;
    block.input_channels = shape.inputs;
    block.copy = nullptr;
    block.epilogue = pointwise::no_epilogue(dtype_of<T>());
    block.epilogue.floor = pointwise::Number::of(floor);
    if (slope != 1) block.epilogue = pointwise::epilogue_of(pointwise::Activation::leaky_relu(slope), dtype_of<T>());

    char* x_memory = arena->x.forbidden();  // without input channels, x must not be read
    if (shape.inputs > 0)
      x_memory = at_end ? arena->x.at_end(static_cast<size_t>(x_place.extent)) : arena->x.at_begin();
    for (int64_t p = 0; p < shape.pixels; ++p)
      for (int64_t i = 0; i < shape.inputs; ++i)
        std::memcpy(x_memory + x_place.at(p, i), &x[static_cast<size_t>(p * shape.inputs + i)], sizeof(T));
    block.x = x_memory + x_place.first;
    block.x_pixel = x_place.pixel;
    block.x_channel = x_place.channel;

    const int64_t panels = (shape.channels + width - 1) / width;
    char* w = arena->weights.at_end(static_cast<size_t>(panels * shape.inputs * 64));
    char* b = arena->bias.at_end(static_cast<size_t>(panels * 64));
    for (int64_t c = 0; c < panels * width; ++c) {
      const bool used = c < shape.channels;
      const T bias_number = used ? bias[static_cast<size_t>(c)] : T{0};
      std::memcpy(b + c * item, &bias_number, sizeof(T));
      for (int64_t i = 0; i < shape.inputs; ++i) {
        const T weight = used ? weights[static_cast<size_t>(c * shape.inputs + i)] : T{0};
        std::memcpy(w + (c / width * shape.inputs + i) * 64 + c % width * item, &weight, sizeof(T));
      }
    }
    block.weights = w;
    block.panel = shape.inputs * 64;
    block.bias = b;

    y.assign(static_cast<size_t>(y_place.extent + 2 * guard + shift), '\x5a');
    block.y = y.data() + guard + shift + y_place.first;
    block.y_pixel = y_place.pixel;
    block.y_channel = y_place.channel;
    block.y_offsets = y_place.offsets.empty() ? nullptr : y_place.offsets.data();

    block.residual = nullptr;
    if (!residual.empty()) {
      char* r = arena->residual.at_end(static_cast<size_t>(residual_place.extent + shift));
      for (int64_t p = 0; p < shape.pixels; ++p)
        for (int64_t c = 0; c < shape.channels; ++c)
          std::memcpy(r + residual_place.at(p, c), &residual[static_cast<size_t>(p * shape.channels + c)], sizeof(T));
      block.residual = r + residual_place.first;
      block.residual_pixel = residual_place.pixel;
      block.residual_channel = residual_place.channel;
      block.residual_offsets = residual_place.offsets.empty() ? nullptr : residual_place.offsets.data();
    }
  }

  // Runs a kernel row on the block. For every second shape, `room` is as small as allowed.
  void run(const KernelRow& row, Arena* arena) {
    if (row.room != nullptr) {
      const pointwise::Problem problem{shape.channels, shape.pixels,         shape.inputs, sizeof(T), row.lanes, 0,
                                       false,          pointwise::machine(), nullptr,      nullptr};
      const bool little = (shape.pixels + shape.channels + shape.inputs) % 2 == 0;
      block.room_bytes = row.room(problem, little ? 0 : int64_t{1} << 40);
      block.room = arena->room.at_end(static_cast<size_t>(block.room_bytes));
    }
    row.run(block);
  }

  // Returns an element of y, summed by fma in the canonical order. Sanitizers skip this function and expected(), which
  // take most of the time of the kernel tests and read only arrays of the tests.
  __attribute__((no_sanitize("address", "undefined"))) T canonical(int64_t p, int64_t c) const {
    const T *from = x.data() + p * shape.inputs, *weight = weights.data() + c * shape.inputs;
    T acc = canonical_sum(bias.data()[c], shape.inputs,
                          [&](int64_t i, T sum) __attribute__((no_sanitize("address", "undefined"))) {
                            return std::fma(weight[i], from[i], sum);
                          });
    if (residual.size() > 0) acc += residual.data()[p * shape.channels + c];
    if (acc < 0) acc *= slope;
    return acc < floor ? floor : acc;
  }

  // Returns the expected bytes of `y`, guard bytes and gaps included.
  __attribute__((no_sanitize("address", "undefined"))) std::vector<char> expected(ptrdiff_t shift) const {
    std::vector<char> bytes(y.size(), '\x5a');
    char* const first = bytes.data() + guard + shift;
    for (int64_t p = 0; p < shape.pixels; ++p) {
      char* const to = first + y_place.at(p, 0);
      for (int64_t c = 0; c < shape.channels; ++c) {
        const T v = canonical(p, c);
        std::memcpy(to + c * y_place.channel, &v, sizeof(T));
      }
    }
    return bytes;
  }

  // Returns an empty string if every byte of `y` is right. Otherwise describes the first wrong element, or reports that
  // a byte between or around the elements was written.
  std::string difference(ptrdiff_t shift) const {
    const std::vector<char> want = expected(shift);
    if (y == want) return {};
    for (int64_t p = 0; p < shape.pixels; ++p)
      for (int64_t c = 0; c < shape.channels; ++c) {
        const size_t at = static_cast<size_t>(guard + shift + y_place.at(p, c));
        if (std::memcmp(&y[at], &want[at], sizeof(T)) == 0) continue;
        T got, right;
        std::memcpy(&got, &y[at], sizeof(T));
        std::memcpy(&right, &want[at], sizeof(T));
        return text() + ": pixel " + std::to_string(p) + ", channel " + std::to_string(c) + " is " +
               std::to_string(got) + ", expected " + std::to_string(right);
      }
    return text() + ": a byte that is no element was written";
  }

  std::string text() const {
    return std::to_string(shape.pixels) + " pixels, " + std::to_string(shape.inputs) + " -> " +
           std::to_string(shape.channels) + " channels, floor " + std::to_string(floor) + ", slope " +
           std::to_string(slope) + (residual.empty() ? "" : ", residual");
  }
};

}  // namespace pointwise_tests
