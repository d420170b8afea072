// The contract between the driver and the kernels: what one kernel call computes, and what a kernel row is.
//
// A kernel computes a rectangle of output pixels x output channels from panels of packed weights:
//
//     weights, packed: panel 0            panel 1                  W = panel_width<T>() channels = 64 bytes
//       input channel 0 [o0 o1 .. oW-1]   [oW .. o2W-1]            a panel is input_channels * W numbers,
//       input channel 1 [o0 o1 .. oW-1]   [oW .. o2W-1]            64-byte aligned; the last is filled with zeros
//       ...
//
// The same panel serves two orientations of the register tile (MR rows x NR vectors):
//
//     channels as rows                          pixels as rows
//              NR vectors of pixels                      NR vectors of channels
//            +---------------------+                   +---------------------+
//     MR     | acc += weight * x   |            MR     | acc += x * weight   |
//     output | broadcast * vector  |            pixels | broadcast * vector  |
//     channels--------------------+                   +---------------------+
//     needs x_pixel == sizeof(T)                any strides of x
//
// Every element is acc = bias; acc = fma(w_i, x_i, acc) for i ascending; acc += residual; activation; one store.
// This order is a promise to users (the bits do not depend on the tile), so a kernel never splits or reorders it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "machine/machine.h"

namespace pointwise {

constexpr int panel_bytes = 64;  // of one input channel of a panel

// Numbers of a type that are one input channel of a panel.
template <class T>
constexpr int panel_width() {
  return panel_bytes / static_cast<int>(sizeof(T));
}

// A number of the type that sums have.
struct Number {
  alignas(8) unsigned char bytes[8];

  template <class T>
  static Number of(T value) {
    Number number{};
    __builtin_memcpy(number.bytes, &value, sizeof(T));
    return number;
  }
  template <class T>
  T as() const {
    T value;
    __builtin_memcpy(&value, bytes, sizeof(T));
    return value;
  }
  const char* address() const { return reinterpret_cast<const char*>(bytes); }
};

// Applies an activation to `vectors` contiguous vectors of the ISA's width at `from`. They are stored in rows of
// `row_vectors`, `row` bytes apart; `to` may be `from`, as one row of all.
using Activate = void (*)(const Number* parameters, const char* from, int64_t vectors, char* to, int64_t row_vectors,
                          ptrdiff_t row);

// Activations so cheap that tiles apply them to their registers.
enum class Inline { no, clip, leaky_relu, hardswish };

// Whether channel rows of such vectors may copy the pixels of a tile (Block::copy). Those of 64 bytes lose by it, 1 to
// 10%: they wait less for L2, and the copying tile is a larger part of the whole. Theirs are not compiled.
constexpr bool may_copy(int64_t vector_bytes) { return vector_bytes < 64; }

constexpr int activation_kinds = 15;  // Activation::kinds, of which kernel files know nothing

// What is done to a sum before it is stored.
struct Epilogue {
  Number floor;          // v becomes max(floor, v): 0 for relu, -infinity for no activation
  Activate activate;     // every other activation, in place of the floor; null if there is none
  Inline in_registers;   // the same, if tiles may do it
  Number parameters[2];  // of activate
};

// One kernel call. Strides are in bytes; x, y and residual need no alignment. Nothing outside the rectangle is read
// or written (x has `input_channels` channels and `pixels` pixels; y and residual `pixels` x `channels`).
struct Block {
  int64_t pixels, channels, input_channels;
  const char* x;
  ptrdiff_t x_pixel, x_channel;
  const char* weights;  // the first panel
  ptrdiff_t panel;      // bytes from one panel to the next
  const char* bias;     // a whole number of panels, 64-byte aligned
  char* y;
  ptrdiff_t y_pixel, y_channel;
  const char* residual;  // or null
  ptrdiff_t residual_pixel, residual_channel;
  // Where pixels are not evenly spaced: bytes from y (and residual) to each pixel, in place of y_pixel; else null.
  const ptrdiff_t* y_offsets;
  const ptrdiff_t* residual_offsets;
  Epilogue epilogue;
  // Where the input channels are split over several calls: the sums so far, which stand in for the bias; else null.
  // Stored as the tile has them, row by row with the lanes side by side; whole tiles of them are read.
  const char* sums;
  ptrdiff_t sums_row;
  // Room for input_channels * NR vectors, 64-byte aligned, where channel rows may copy the pixels of a tile for the
  // tiles of other channels to read; else null.
  char* copy;
  // x comes from memory: tiles of 64-byte vectors fetch it ahead.
  bool fetch;
  // Whole vectors of results go past the caches. y and the steps between its rows are multiples of 64 bytes.
  bool stream;
};

enum class Rows { channels, pixels };

// The product that a row is asked about: of one image and group, or a part of it.
struct Problem {
  int64_t m, n, k;  // output channels, pixels, input channels
  bool direct;      // the lanes of a vector of results are contiguous in dst
  const Machine& machine;
  // Returns the cycles of a tile of `rows` rows and `vectors` whole vectors.
  double (*tile_cycles)(const void* model, int64_t rows, int64_t vectors);
  const void* model;
};

// One register tile shape of one instruction set, as the cost model and the driver see it.
struct KernelRow {
  const char* name;  // gemm_<type>_<MR>x<NR*lanes>_<rows>_<isa>
  Types types;
  Rows rows;
  int mr, nr, lanes;
  void (*run)(const Block&);
  int unit = 1;  // pieces of pixel rows begin at a multiple of `unit` pixels
  // Returns why the row does not compute a product, or null. Without a function it computes all.
  const char* (*refuses)(const Problem&) = nullptr;
  // Returns the cycles of a product. Without a function they are those of whole tiles (product/cycle_model.h).
  double (*cycles)(const Problem&) = nullptr;
};

struct KernelRows {
  const KernelRow* first;
  int count;
  const KernelRow* begin() const { return first; }
  const KernelRow* end() const { return first + count; }
  const KernelRow& operator[](int index) const { return first[index]; }
};

// How x of one type is packed; it becomes the type of the sums.
struct Pack {
  // Copies pixels into a panel: to[c * to_channel + i * item] = x[c * x_channel + offsets[i]], byte strides.
  void (*pixels)(const char* x, ptrdiff_t x_channel, const ptrdiff_t* offsets, int64_t pixels, int64_t channels,
                 char* to, ptrdiff_t to_channel);
  // Copies contiguous numbers.
  void (*run)(const char* from, int64_t count, char* to);
};

// By the type of x; null for types that the kernels do not take.
struct PackTable {
  Pack by_type[type_count];
  const Pack& operator[](DType x) const { return by_type[static_cast<int>(x)]; }
};

// What one translation unit of kernels offers.
struct KernelTable {
  KernelRows rows;
  PackTable pack;
  // Multiplies numbers of packed pixels, in place: `rows` rows of `count`, `row` bytes apart, each row by its factor,
  // or (by_column) each column by its own. Factors lie side by side.
  void (*scale)(char* numbers, ptrdiff_t row, int64_t rows, int64_t count, const char* factors, bool by_column);
  // Packs the output channels of a panel, or fewer; missing ones are zeros. The weights of a channel are contiguous,
  // channels are `step` bytes apart.
  void (*pack_weights)(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels, char* panel);
  // A pixel's sums over weights that lie as for pack_weights: sums[o] begins as bias[o]. Whole panels of bias are read
  // and of sums written.
  void (*multiply_unpacked)(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels,
                            const char* x, ptrdiff_t x_channel, const char* bias, char* sums);
  // By Activation::Kind; null for none and relu, which are an Epilogue's floor.
  const Activate* activations;
  // Nothing but multiply-adds of registers, `steps` times a fixed number of them: what the instruction set could do at
  // best. Returns the floating-point operations that were done, two for a multiply-add.
  double (*fma_loop)(int64_t steps);
};

extern const KernelTable portable_f32;
extern const KernelTable portable_f64;
#if defined(__x86_64__)
extern const KernelTable avx2_f32;
extern const KernelTable avx2_f64;
extern const KernelTable avx512_f32;
extern const KernelTable avx512_f64;
#endif

}  // namespace pointwise
