// The contract between the driver (product/driver.cpp) and the kernels.
//
// A kernel call computes one block, a rectangle of pixels x output channels. Input channels form chunks of 256. For
// each element a kernel does, in this order:
//
//     total = bias                             the first chunk begins with the bias
//     total = fma(weight[i], x[i], total)      for each input channel i of the first chunk, ascending
//     for each later chunk, ascending:
//       sum   = +0
//       sum   = fma(weight[i], x[i], sum)      for each input channel i of the chunk, ascending
//       total = total + sum
//     total = total + residual                 if there is one
//     y     = activation(total)                stored once
//
// Users rely on this order: the bits of a result do not depend on the tile. So a kernel must not split or reorder a sum
// in another way. (Portable kernels round each product before they add it to the sum.)
//
// Weights are packed into panels. A panel holds W = panel_width<T>() output channels. For each input channel it has W
// numbers (64 bytes):
//
//     weights, packed: panel 0            panel 1
//       input channel 0 [o0 o1 .. oW-1]   [oW .. o2W-1]            a panel is input_channels * W numbers,
//       input channel 1 [o0 o1 .. oW-1]   [oW .. o2W-1]            64-byte aligned; the last panel is padded with zeros
//       ...
//
// A block is computed tile by tile. A tile holds its sums in registers, as MR rows of NR vectors. A tile has one of two
// orientations. Both orientations read the same panels:
//
//     channel rows                              pixel rows
//              NR vectors of pixels                      NR vectors of output channels
//            +---------------------+                   +---------------------+
//     MR     | acc += weight * x   |            MR     | acc += x * weight   |
//     output | broadcast * vector  |            pixels | broadcast * vector  |
//     channels--------------------+                   +---------------------+
//     needs x_pixel == sizeof(T)                any strides of x
//
// Pairs of channels: a table with `step` 2 multiplies two input channels of 16 bits at once. A pair takes the place of
// one input channel in the text above. In panels and in packed src, a pair has 32 bits, and the even channel comes
// first. `input_channels`, x_channel and strides of panels count pairs. If the number of channels is odd, the last pair
// has -0.0 as its second weight, and +0.0 as its second number of src. So it adds nothing to the sum.
//
// A kernel row (KernelRow) is one tile shape of one instruction set. A kernel table (KernelTable) holds the kernel rows
// and other functions of one instruction set for one dtype of packed weights. registry.h chooses the instruction set.
// product/blocking.cpp chooses the kernel row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "machine/machine.h"

namespace pointwise {

// Number of input channels in a chunk of a sum. The last chunk may have fewer. If several kernel calls share a sum,
// every call except the last one computes whole chunks.
constexpr int64_t chunk_channels = 256;
// Bytes of one input channel in a panel.
constexpr int panel_bytes = 64;

// Returns the number of output channels in a panel.
template <class T>
constexpr int panel_width() {
  return panel_bytes / static_cast<int>(sizeof(T));
}

// One number of the dtype of the sums, stored as bytes. So tables and blocks need no template parameter for the dtype.
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

// Applies an activation to `vectors` contiguous vectors at `from`. Stores the results at `to` in rows of `row_vectors`
// vectors. Rows are `row` bytes apart. `to` may equal `from` if there is only one row.
using Activate = void (*)(const Number* parameters, const char* from, int64_t vectors, char* to, int64_t row_vectors,
                          ptrdiff_t row);

// The activations that are cheap enough for tiles to apply them in registers.
enum class Inline { no, clip, leaky_relu, hardswish };

// Returns true if channel rows with vectors of this size may copy the pixels of a tile (Block::copy). With 64-byte
// vectors, copying makes channel rows slower by 1 to 10% (Zen 5). So no copying functions are compiled for 64-byte
// vectors.
constexpr bool may_copy(int64_t vector_bytes) { return vector_bytes < 64; }

// Number of activation kinds. registry.cpp checks that it equals Activation::kinds.
constexpr int activation_kinds = 16;

// The activation of a block: max(floor, v) for the kinds `none` and `relu`, a function for every other kind. The driver
// applies the kind `prelu` after the kernel call, so the epilogue of this kind stores the sums unchanged.
struct Epilogue {
  Number floor;          // 0 for relu, else -infinity
  Activate activate;     // the function, or null if only the floor applies
  Inline in_registers;   // the activation, if tiles apply it in registers; else Inline::no
  Number parameters[2];  // parameters of the function
};

// A level of the memory hierarchy.
enum class Level { l2, l3, memory };

// The arguments of one kernel call. A kernel reads x (src), weights, bias and residual, and writes y (dst).
//
// All strides are in bytes. x, y and residual need no alignment. x has `input_channels` x `pixels` numbers. y and
// residual have `channels` x `pixels` numbers. A kernel does not access x, y and residual beyond these numbers.
struct Block {
  int64_t pixels, channels, input_channels;  // `channels` are output channels
  const char* x;                             // src, or packed src
  ptrdiff_t x_pixel, x_channel;              // strides between pixels, and between input channels
  const char* weights;                       // the first panel
  ptrdiff_t panel;                           // stride between panels
  const char* bias;                          // zeros follow, up to a whole panel; 64-byte aligned
  char* y;                                   // dst, or sums for the next call of a split sum
  ptrdiff_t y_pixel, y_channel;
  const char* residual;  // may be null
  ptrdiff_t residual_pixel, residual_channel;
  // Offsets of the pixels from y and from residual, in bytes. They are null if pixels are evenly spaced. Otherwise they
  // replace y_pixel and residual_pixel.
  const ptrdiff_t* y_offsets;
  const ptrdiff_t* residual_offsets;
  Epilogue epilogue;
  // Sums from which this call starts, in place of the bias. Null to start from the bias. The sums come from an earlier
  // kernel call of a split sum, or from KernelTable::multiply_unpacked. The vectors of a row of a tile are contiguous,
  // and rows are `sums_row` bytes apart. Kernels read whole tiles of sums.
  const char* sums;
  ptrdiff_t sums_row;
  // Memory for input_channels * NR vectors, 64-byte aligned. The first tile of channel rows copies its pixels to this
  // memory, and the tiles of other output channels read the copy. Null if tiles must not copy.
  char* copy;
  // Memory that the kernel row may use, 64-byte aligned. `room_bytes` is at least the result of KernelRow::room().
  char* room;
  int64_t room_bytes;
  // The level that holds x, as the planner assumes. Kernels may prefetch x from L3 and from memory.
  Level source;
  // True if tiles of 64-byte vectors may use non-temporal stores. Tiles with unused rows or lanes never use such
  // stores. If `stream` is true, y must be 64-byte aligned, and rows of a tile must be a multiple of 64 bytes apart.
  bool stream;
};

// The orientation of a tile. Its rows are output channels or pixels.
enum class Rows { channels, pixels };
// The condition of a kernel row on x. `any`: no condition. `pixels`: the pixels of an input channel are contiguous.
// `channels`: the input channels of a pixel are contiguous. `own`: output channel c reads only input channel c. Such a
// kernel row computes products whose groups have one channel each. It takes the groups as channels.
enum class Reads { any, pixels, channels, own };

// The product for one group of one image, or a part of this product. It is the argument of KernelRow::refuses,
// KernelRow::cycles and KernelRow::room.
struct Problem {
  int64_t m, n, k;  // output channels, pixels, input channels
  int item, lanes;  // bytes of a number of dst, lanes of a vector
  double indirect;  // additional cycles of each vector of results that is not stored directly
  bool direct;      // vectors of results are contiguous in dst
  const Machine& machine;
  // Returns the cycles of a tile of `rows` rows and `vectors` whole vectors. The first argument must be the field
  // `model`. The fields `tile_cycles` and `model` are null in calls of KernelRow::refuses and KernelRow::room.
  double (*tile_cycles)(const void* model, int64_t rows, int64_t vectors);
  const void* model;
};

// One tile shape of one instruction set, with the functions that the cost model and the driver call.
struct KernelRow {
  // gemm_<type>_<MR>x<lanes in use>_<kind>_<isa>. The type u8 stands for src of uint8, and u8u8 for src and dst.
  const char* name;
  // If x is an integer, the planner uses the kernel row only for x of this dtype, which the kernel row reads in place.
  // If y is an integer, the planner uses the kernel row only for y of this dtype.
  Types types;
  Rows rows;
  Reads reads;
  int mr, nr, lanes;          // rows and vectors of a tile, lanes of a vector
  void (*run)(const Block&);  // computes a block
  int unit = 1;               // for pixel rows: a piece begins at a multiple of `unit` pixels
  // Returns the reason why the kernel row cannot compute a product, or null if it can. A kernel row without this
  // function can compute every product.
  const char* (*refuses)(const Problem&) = nullptr;
  // Returns the predicted cycles of a product. For a kernel row without this function, the cost model adds up the
  // cycles of tiles (product/cycle_model.h).
  double (*cycles)(const Problem&) = nullptr;
  // Returns the number of bytes of Block::room. `l2` is the size of L2 in bytes. A kernel row without this function
  // needs no room.
  int64_t (*room)(const Problem&, int64_t l2) = nullptr;
  // True if the planner may use the kernel row only for dense products. In x, y and the residual of such products, the
  // channels of a pixel are contiguous, and so are the pixels. For such kernel rows, Block::stream does not require
  // rows of y to be a multiple of 64 bytes apart.
  bool dense = false;
};

// The kernel rows of a table.
struct KernelRows {
  const KernelRow* first;
  int count;
  const KernelRow* begin() const { return first; }
  const KernelRow* end() const { return first + count; }
  const KernelRow& operator[](int index) const { return first[index]; }
};

// Returns all kernel rows of an array.
template <int N>
constexpr KernelRows all_of(const KernelRow (&rows)[N]) {
  return {rows, N};
}

// Functions that pack src of one dtype. Packed numbers have the dtype of the sums.
struct Pack {
  // Copies pixels: to[c * to_channel + i * item] = x[c * x_channel + offsets[i]] for each input channel c and pixel i.
  // All distances are in bytes. `item` is the size of a packed number.
  void (*pixels)(const char* x, ptrdiff_t x_channel, const ptrdiff_t* offsets, int64_t pixels, int64_t channels,
                 char* to, ptrdiff_t to_channel);
  // Copies `count` contiguous numbers.
  void (*run)(const char* from, int64_t count, char* to);
};

// The packing functions for each dtype of src. Null for dtypes that the kernels do not accept.
struct PackTable {
  Pack by_type[type_count];
  // For the dtype whose sums take channels in pairs (sums_pairs). Packs channels in the order of the sums: `pixels`
  // stores channel c as channel place_in_pairs(c, channels), and `run` packs the channels of a pixel in this order.
  Pack pairs;
  const Pack& operator[](DType x) const { return by_type[static_cast<int>(x)]; }
};

// Converts `count` contiguous results to another dtype: rounds half to even. Integers are saturated, and NaN becomes 0.
// Number i is stored at to + i * step. Reads only these `count` numbers at `from`.
using Convert = void (*)(const char* from, int64_t count, char* to, ptrdiff_t step);

// The functions that convert results to each dtype of dst. Null for dtypes that need no conversion, and for dtypes that
// results cannot have.
struct ConvertTable {
  Convert by_type[type_count];
  Convert operator[](DType y) const { return by_type[static_cast<int>(y)]; }
};

// The functions of one instruction set for one dtype of packed weights. A kernel file exports this table. If sums have
// another dtype, the functions for sums are null: `convert`, `activations` and `prelu`. The table for weights of the
// dtype of the sums has these functions.
struct KernelTable {
  KernelRows rows;
  PackTable pack;
  ConvertTable convert;
  // Multiplies packed pixels by contiguous factors, in place. The pixels are in `rows` rows of `count` numbers. `row`
  // is the distance between two rows in bytes. If `by_column` is false, factor i multiplies row i. If `by_column` is
  // true, factor i multiplies number i of every row.
  void (*scale)(char* numbers, ptrdiff_t row, int64_t rows, int64_t count, const char* factors, bool by_column);
  // Packs `channels` output channels into one panel, and pads the panel with zeros. The weights of an output channel
  // are contiguous, and output channels are `step` bytes apart.
  void (*pack_weights)(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels, char* panel);
  // Computes the sums of one pixel from weights that are not packed. The weights have the layout that pack_weights
  // reads. sums[o] begins with bias[o]. Reads whole vectors of bias and writes whole vectors of sums.
  void (*multiply_unpacked)(const char* weights, ptrdiff_t step, int64_t channels, int64_t input_channels,
                            const char* x, ptrdiff_t x_channel, const char* bias, char* sums);
  // The function of each Activation::Kind. Null for the kinds `none` and `relu`, which use Epilogue::floor. Null also
  // for `prelu`, which uses the function `prelu` of this table.
  const Activate* activations;
  // Measures the FMA peak: executes multiply-adds on registers in a loop of `steps` steps. Returns the number of
  // floating-point operations, two for each multiply-add.
  double (*fma_loop)(int64_t steps);
  // Multiplies negative numbers by contiguous slopes, in place. The arguments mean the same as for `scale`.
  void (*prelu)(char* numbers, ptrdiff_t row, int64_t rows, int64_t count, const char* slopes, bool by_column);
  int step = 1;  // input channels that a tile multiplies in a step: 1, or 2 for pairs of channels
  // For pairs of channels: returns true if the dot product of this CPU gives the bits of two multiply-adds, the odd
  // channel first. Computes some sums both ways. FTZ and DAZ must be set. Null for other tables.
  bool (*keeps_order)() = nullptr;
  // Computes the sums of one pixel from `panels` panels of int8 weights, which are `panel` bytes apart. Sums begin with
  // +0. Writes whole panels of sums. Null for tables of other types than float32.
  void (*multiply_int8)(const char* weights, ptrdiff_t panel, int64_t panels, int64_t input_channels, const char* x,
                        ptrdiff_t x_channel, char* sums) = nullptr;
  // Multiplies sums by the scales of their output channels and adds the bias, in place: sum = fma(sum, scale, bias).
  // The sums are in `rows` rows of `count` numbers, `row` bytes apart. If `by_column` is true, a row has the output
  // channels of a pixel. Otherwise a row has the pixels of an output channel. Reads and writes whole vectors. Null if
  // multiply_int8 is null.
  void (*scale_sums)(char* sums, ptrdiff_t row, int64_t rows, int64_t count, const char* scales, const char* bias,
                     bool by_column) = nullptr;
};

extern const KernelTable portable_f32;
extern const KernelTable portable_f64;
#if defined(__x86_64__)
extern const KernelTable avx2_f32;
extern const KernelTable avx2_f64;
extern const KernelTable avx512_f32;
extern const KernelTable avx512_f64;
extern const KernelTable avx512_bf16;
#endif

}  // namespace pointwise
