// Runs the loop nest of blocking.h. For every image, group, output channel o and pixel p, the loops compute:
//
//     acc = bias[o]
//     for i in input channels:  acc = fma(weights[o][i], src[i][p], acc)      in chunks, see kernels/kernel.h
//     dst[o][p] = activation(acc + residual[o][p])                            prelu: after the kernel call
//
// With int8 weights, acc begins with +0, and acc = fma(acc, scale[o], bias[o]) follows the loop.
//
// The plan cuts the loop nest into pieces. Each element of dst belongs to one piece, and each piece is computed by one
// thread.
#include "product/driver.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "kernels/registry.h"
#include "memory/scratch.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

class Run {
 public:
  Run(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, char* scratch)
      : plan_(plan),
        weights_(weights),
        arrays_(arrays),
        scratch_(scratch),
        table_(kernels(weights.kernel_dtype())),
        sums_table_(kernels(weights.sum)),
        pack_(table_.pack[plan.product.types.x]),
        pack_channels_(weights.swapped ? table_.pack.pairs : pack_),
        convert_(sums_table_.convert[plan.product.types.y]),
        item_(weights.item),
        x_item_(item_size(plan.product.types.x)),
        y_item_(item_size(plan.product.types.y)) {}

  void piece(int64_t index, int thread) const {
    int i = 0;
    while (index >= plan_.blocking[i].pieces) index -= plan_.blocking[i++].pieces;
    const Box& box = plan_.product.box[i];
    const Blocking& b = plan_.blocking[i];
    const int64_t channel_part = index % b.m_parts.count;
    index /= b.m_parts.count;
    const int64_t pixel_part = index % b.n_parts.count;
    index /= b.n_parts.count;
    const int64_t groups = takes_groups(b) ? 1 : plan_.product.groups;
    const int64_t pixel = b.n_parts.begin(pixel_part), channel = b.m_parts.begin(channel_part);
    run_piece(box, b, index / groups, index % groups, pixel, b.n_parts.begin(pixel_part + 1) - pixel, channel,
              b.m_parts.begin(channel_part + 1) - channel, scratch_ + thread * plan_.workspace.bytes());
  }

 private:
  // Returns true if the kernel row takes the groups of the product as channels.
  bool takes_groups(const Blocking& b) const { return table_.rows[b.kernel_row].reads == Reads::own; }

  void run_piece(const Box& box, const Blocking& b, int64_t image, int64_t group, int64_t pixel, int64_t pixels,
                 int64_t channel, int64_t channels, char* scratch) const {
    const Product& product = plan_.product;
    const int image_axes = box.axes - b.n_axes;
    const bool own = takes_groups(b);
    const int64_t m = own ? product.groups : product.m;
    const int64_t first = group * m + channel;
    const char* src = arrays_.src + box.src + (own ? channel : group * product.k) * product.src_k;
    char* dst = arrays_.dst + box.dst + first * product.dst_m;
    const char* residual = arrays_.residual ? arrays_.residual + box.residual + first * product.residual_m : nullptr;
    const char* scale =
        arrays_.scale ? arrays_.scale + box.scale + (own ? channel : group * weights_.steps) * item_ : nullptr;
    for (int i = image_axes - 1; i >= 0; --i) {
      const Axis& axis = box.axis[i];
      const int64_t at = image % axis.size;
      image /= axis.size;
      src += at * axis.src;
      dst += at * axis.dst;
      if (residual) residual += at * axis.residual;
      if (scale) scale += at * axis.scale;
    }

    const int64_t width = weights_.width;
    const Axis& inner = box.axis[box.axes - 1];
    Block block{};
    block.input_channels = ceil_div(box.k, table_.step);
    block.epilogue = weights_.epilogue;
    // A single pixel, or a single channel, counts as contiguous.
    const ptrdiff_t dst_pixel = b.n == 1 ? y_item_ : inner.dst, dst_channel = m == 1 ? y_item_ : product.dst_m;
    block.y_pixel = dst_pixel;
    const ptrdiff_t residual_pixel = b.n == 1 ? y_item_ : inner.residual;
    const ptrdiff_t residual_channel = m == 1 ? y_item_ : product.residual_m;
    block.residual_pixel = residual_pixel;
    block.y_channel = dst_channel;
    block.residual_channel = residual_channel;
    block.source = b.packing == Packing::none ? plan_.source : Level::l2;
    block.panel = panel_bytes * weights_.steps;
    const ptrdiff_t stored_panel = weights_.panel_row() * weights_.steps;
    const bool quantized = weights_.quantized() && box.k > 0;
    const bool packs = weights_.borrowed && box.k > 0 && !own;
    const char* weights =
        weights_.borrowed ? nullptr : weights_.weights(group) + channel / weights_.width * stored_panel;
    const char* bias = weights_.bias(group) + channel * item_;
    if (own) {  // each panel has one output channel
      weights = weights_.borrowed ? given_weights(channel) : weights_.weights(channel);
      bias = weights_.bias(channel);
      if (weights_.borrowed) block.panel = weights_.given.strides[0];
    }
    // Distance in bytes between the weights of neighbouring channels, and between their biases.
    const ptrdiff_t weight_step = own ? block.panel : stored_panel / width, bias_step = own ? panel_bytes : item_;

    const Workspace& workspace = plan_.workspace;
    char* const packed = workspace.at(scratch, Region::packed);
    char* const results = workspace.at(scratch, Region::results);
    char* const converted_residual = workspace.at(scratch, Region::residual);
    char* const sums = workspace.at(scratch, Region::sums);
    char* const panels = workspace.at(scratch, Region::panels);
    block.copy = b.copy > 0 ? workspace.at(scratch, Region::copy) : nullptr;
    block.room = b.room > 0 ? workspace.at(scratch, Region::room) : nullptr;
    block.room_bytes = b.room;
    const bool converts = b.results > 0;
    if (converts) {
      block.y_pixel = b.results_by_pixel ? b.results_row : item_;
      block.y_channel = b.results_by_pixel ? item_ : b.results_row;
      block.residual_pixel = block.y_pixel;
      block.residual_channel = block.y_channel;
    }
    ptrdiff_t* src_offsets = reinterpret_cast<ptrdiff_t*>(workspace.at(scratch, Region::offsets));
    const int64_t most_offsets = b.packing != Packing::none || !b.even ? b.n_block : 0;  // if 0, `scratch` may be null
    ptrdiff_t* dst_offsets = src_offsets + most_offsets;
    ptrdiff_t* residual_offsets = dst_offsets + most_offsets;
    ptrdiff_t* scale_offsets = residual_offsets + most_offsets;
    const auto offsets = [&](int64_t begin, int64_t count, ptrdiff_t Axis::* step, ptrdiff_t* to) {
      pixel_offsets(box.axis.data() + image_axes, b.n_axes, begin, count, step, to);
    };
    const Parts n_blocks = fewest_parts(pixels, b.n_parts.unit, b.n_block);
    const Parts m_blocks = fewest_parts(channels, width, b.m_block);
    for (int64_t i = 0; i < n_blocks.count; ++i) {
      const int64_t begin = pixel + n_blocks.begin(i);
      block.pixels = pixel + n_blocks.begin(i + 1) - begin;
      if (b.packing != Packing::none) offsets(begin, b.dense ? 1 : block.pixels, &Axis::src, src_offsets);
      if (!b.even) {
        offsets(begin, block.pixels, &Axis::dst, dst_offsets);
        if (residual) offsets(begin, block.pixels, &Axis::residual, residual_offsets);
      }
      set_source(b, product, inner, src, box.k, begin, src_offsets, packed, &block);
      if (scale && block.input_channels > 0) {
        offsets(begin, block.pixels, &Axis::scale, scale_offsets);
        scale_packed(b, scale, scale_offsets, block, packed);
      }
      const ptrdiff_t dst_at = b.even ? begin * inner.dst : 0, residual_at = b.even ? begin * inner.residual : 0;
      block.y_offsets = b.even || converts ? nullptr : dst_offsets;
      block.residual_offsets = b.even || converts ? nullptr : residual_offsets;
      const char* const x = block.x;
      for (int64_t k = 0; k < m_blocks.count; ++k) {
        const int64_t from = m_blocks.begin(k);
        block.channels = m_blocks.begin(k + 1) - from;
        block.bias = bias + from * bias_step;
        block.weights = weights_.borrowed && !own ? panels : weights + from * weight_step;
        if (own) block.x = x + from * block.x_channel;
        char* const block_dst = dst + dst_at + from * product.dst_m;
        block.y = converts ? results : block_dst;
        block.residual = residual ? residual + residual_at + from * product.residual_m : nullptr;
        if (converts && residual) {
          convert_residual(b, block, residual_pixel, residual_channel, b.even ? nullptr : residual_offsets,
                           converted_residual);
          block.residual = converted_residual;
        }
        const KernelRow& kernel = table_.rows[b.kernel_row];
        const ptrdiff_t row = kernel.dense ? 0 : kernel.rows == Rows::channels ? block.y_channel : block.y_pixel;
        block.stream = plan_.stream && (reinterpret_cast<uintptr_t>(block.y) | static_cast<uintptr_t>(row)) % 64 == 0;
        const int64_t given_channel = group * product.m + channel + from;
        if (quantized) {
          run_quantized(b, block, weights_.scales(group) + (channel + from) * item_, panels, sums);
        } else if (packs && multiplies_unpacked(b, block)) {
          run_unpacked(b, block, given_channel, panels);
        } else {
          if (packs) pack_panels(weights_, group, channel + from, block.channels, panels);
          run_kernel(b, block, sums);
        }
        if (weights_.slopes) apply_slopes(block, weights_.slopes.get() + (first + from) * item_);
        if (converts) convert_results(b, block, dst_pixel, dst_channel, b.even ? nullptr : dst_offsets, block_dst);
      }
    }
  }

  // Applies PReLU to the results of a block. `slopes` begins with the slope of its first output channel. A row of
  // results is a pixel if its channels are contiguous. Otherwise a row is a range of contiguous pixels of a channel.
  void apply_slopes(const Block& block, const char* slopes) const {
    const auto offset = [&](int64_t p) { return block.y_offsets ? block.y_offsets[p] : p * block.y_pixel; };
    const bool contiguous_channels =
        block.y_channel == item_ && (block.channels > 1 || (!block.y_offsets && block.y_pixel != item_));
    if (contiguous_channels && !block.y_offsets) {
      // Several contiguous pixels form a row, so that rows of a few channels are not short.
      constexpr int64_t most_numbers = 512;
      const int64_t together = std::min(block.pixels, most_numbers / block.channels), pixel = block.channels * item_;
      if (together < 2 || block.y_pixel != pixel) {
        sums_table_.prelu(block.y, block.y_pixel, block.pixels, block.channels, slopes, true);
        return;
      }
      char repeated[most_numbers * sizeof(double)];
      for (int64_t i = 0; i < together; ++i) std::memcpy(repeated + i * pixel, slopes, static_cast<size_t>(pixel));
      const int64_t rows = block.pixels / together, rest = block.pixels % together;
      sums_table_.prelu(block.y, together * pixel, rows, together * block.channels, repeated, true);
      sums_table_.prelu(block.y + rows * together * pixel, 0, 1, rest * block.channels, repeated, true);
      return;
    }
    for (int64_t begin = 0, end; begin < block.pixels; begin = end) {
      end = begin + 1;
      if (contiguous_channels) {
        sums_table_.prelu(block.y + offset(begin), 0, 1, block.channels, slopes, true);
        continue;
      }
      if (block.y_offsets || block.y_pixel != item_)
        while (end < block.pixels && offset(end) - offset(end - 1) == item_) ++end;
      else
        end = block.pixels;
      sums_table_.prelu(block.y + offset(begin), block.y_channel, block.channels, end - begin, slopes, false);
    }
  }

  // Returns the borrowed weights of an output channel.
  const char* given_weights(int64_t channel) const {
    return static_cast<const char*>(weights_.given.data) + channel * weights_.given.strides[0];
  }

  // Returns true if borrowed weights are multiplied without packing. This is faster if each weight is used only once.
  bool multiplies_unpacked(const Blocking& b, const Block& block) const {
    return table_.multiply_unpacked != nullptr && block.pixels == 1 && table_.rows[b.kernel_row].rows == Rows::pixels &&
           block.input_channels >= weights_.width &&  // so Region::panels can hold the sums of whole tiles
           weights_.given.strides[1] == item_;
  }

  // Computes sums from unpacked weights. The first output channel is `channel`. Then calls the kernel with no input
  // channels, so that the kernel only finishes the sums.
  void run_unpacked(const Blocking& b, Block block, int64_t channel, char* sums) const {
    const View& given = weights_.given;
    table_.multiply_unpacked(given_weights(channel), given.strides[0], block.channels, block.input_channels, block.x,
                             block.x_channel, block.bias, sums);
    block.input_channels = 0;
    block.sums = sums;
    block.sums_row = 0;
    table_.rows[b.kernel_row].run(block);
  }

  // Runs a block, with at most k_block input channels per kernel call. Every call except the last leaves its sums in
  // the workspace. Every call except the first continues from the sums of the previous call.
  void run_kernel(const Blocking& b, const Block& block, char* sums) const {
    const KernelRow& row = table_.rows[b.kernel_row];
    if (block.input_channels <= b.k_block) {
      row.run(block);
      return;
    }
    for (int64_t i = 0; i < block.input_channels; i += b.k_block) {
      Block part = part_of(b, block, i, sums);
      part.weights = block.weights + i * panel_bytes;
      if (i + b.k_block < block.input_channels) keep_sums(b, sums, &part);
      row.run(part);
    }
  }

  // Returns the kernel call for the input channels that begin with `first`. Its weights are those of the block.
  static Block part_of(const Blocking& b, const Block& block, int64_t first, const char* sums) {
    Block part = block;
    part.input_channels = std::min(b.k_block, block.input_channels - first);
    part.x = block.x + first * block.x_channel;
    if (first > 0) {
      part.sums = sums;
      part.sums_row = b.sums_row;
    }
    return part;
  }

  // Makes a kernel call store its sums in the workspace, and not finish them.
  void keep_sums(const Blocking& b, char* sums, Block* part) const {
    const bool channel_rows = table_.rows[b.kernel_row].rows == Rows::channels;
    part->y = sums;
    part->y_pixel = channel_rows ? item_ : b.sums_row;
    part->y_channel = channel_rows ? b.sums_row : item_;
    part->y_offsets = nullptr;
    part->residual = nullptr;
    part->epilogue = no_epilogue(weights_.sum);
    part->stream = false;
  }

  // Runs a block with int8 weights. Computes the sums in the workspace, and multiplies them by the scales of their
  // output channels. Then calls the kernel with no input channels, so that the kernel only finishes the sums. For a few
  // pixels, reads the weights as int8. For more pixels, converts the weights of a kernel call to float32 in `panels`.
  void run_quantized(const Blocking& b, Block block, const char* scales, char* panels, char* sums) const {
    const KernelRow& row = table_.rows[b.kernel_row];
    const char *const weights = block.weights, *const bias = block.bias;
    const int64_t count = ceil_div(block.channels, weights_.width), stored_row = weights_.panel_row();
    const ptrdiff_t stored_panel = stored_row * weights_.steps;
    if (b.weights == 0) {
      for (int64_t p = 0; p < block.pixels; ++p)
        table_.multiply_int8(weights, stored_panel, count, block.input_channels, block.x + p * block.x_pixel,
                             block.x_channel, sums + p * b.sums_row);
    } else {
      const auto convert = table_.pack[weights_.dtype].run;
      block.bias = weights_.no_bias();
      for (int64_t i = 0; i < block.input_channels; i += b.k_block) {
        Block part = part_of(b, block, i, sums);
        part.weights = panels;
        part.panel = part.input_channels * panel_bytes;
        for (int64_t p = 0; p < count; ++p)
          convert(weights + p * stored_panel + i * stored_row, part.input_channels * weights_.width,
                  panels + p * part.panel);
        keep_sums(b, sums, &part);
        row.run(part);
      }
    }
    const bool channel_rows = row.rows == Rows::channels;
    table_.scale_sums(sums, b.sums_row, channel_rows ? block.channels : block.pixels,
                      channel_rows ? block.pixels : block.channels, scales, bias, !channel_rows);
    block.input_channels = 0;
    block.sums = sums;
    block.sums_row = b.sums_row;
    row.run(block);
  }

  // Converts the results of a block and stores them to dst. Pixels and channels are `pixel` and `channel` bytes apart
  // in dst. If `offsets` is not null, it has the offsets of the pixels.
  void convert_results(const Blocking& b, const Block& block, ptrdiff_t pixel, ptrdiff_t channel,
                       const ptrdiff_t* offsets, char* dst) const {
    const char* from = block.y;
    if (b.results_dense) {
      convert_(from, block.pixels * block.channels, dst, y_item_);
    } else if (b.results_by_pixel) {
      for (int64_t i = 0; i < block.pixels; ++i, from += b.results_row)
        convert_(from, block.channels, dst + (offsets ? offsets[i] : i * pixel), channel);
    } else {
      for (int64_t k = 0; k < block.channels; ++k, from += b.results_row, dst += channel)
        for (int64_t begin = 0, end; begin < block.pixels; begin = end) {
          end = offsets ? run_end(offsets, begin, block.pixels) : block.pixels;
          const ptrdiff_t step = offsets && end - begin > 1 ? offsets[begin + 1] - offsets[begin] : pixel;
          convert_(from + begin * item_, end - begin, dst + (offsets ? offsets[begin] : 0), step);
        }
    }
  }

  // Converts the residual of a block to numbers of the dtype of the sums, at the positions that results have in
  // Region::results. Pixels and channels are `pixel` and `channel` bytes apart in the residual. If `offsets` is not
  // null, it has the offsets of the pixels.
  void convert_residual(const Blocking& b, const Block& block, ptrdiff_t pixel, ptrdiff_t channel,
                        const ptrdiff_t* offsets, char* to) const {
    constexpr int64_t together = 64;
    ptrdiff_t some[together];
    const Pack& pack = sums_table_.pack[plan_.product.types.y];
    const char* const from = block.residual;
    const auto offset = [&](int64_t p) { return offsets ? offsets[p] : p * pixel; };
    if (b.results_dense && !offsets && channel == y_item_ && pixel == block.channels * y_item_) {
      pack.run(from, block.pixels * block.channels, to);
    } else if (b.results_by_pixel && channel == y_item_) {
      for (int64_t p = 0; p < block.pixels; ++p) pack.run(from + offset(p), block.channels, to + p * b.results_row);
    } else if (b.results_by_pixel) {
      for (int64_t c = 0; c < block.channels; c += together) {
        const int64_t count = std::min(together, block.channels - c);
        for (int64_t i = 0; i < count; ++i) some[i] = (c + i) * channel;
        for (int64_t p = 0; p < block.pixels; ++p)
          pack.pixels(from + offset(p), 0, some, count, 1, to + p * b.results_row + c * item_, 0);
      }
    } else if (!offsets && pixel == y_item_) {
      for (int64_t c = 0; c < block.channels; ++c) pack.run(from + c * channel, block.pixels, to + c * b.results_row);
    } else {
      for (int64_t p = 0; p < block.pixels; p += together) {
        const int64_t count = std::min(together, block.pixels - p);
        for (int64_t i = 0; i < count; ++i) some[i] = offset(p + i);
        pack.pixels(from, channel, some, count, block.channels, to + p * item_, b.results_row);
      }
    }
  }

  // Returns the end of the range of evenly spaced pixels that starts at `begin`.
  static int64_t run_end(const ptrdiff_t* offsets, int64_t begin, int64_t count) {
    int64_t end = begin + 1;
    while (end < count && offsets[end] - offsets[end - 1] == offsets[begin + 1] - offsets[begin]) ++end;
    return end;
  }

  // Sets the fields of the block for src. If the plan packs src, packs the pixels first.
  void set_source(const Blocking& b, const Product& product, const Axis& inner, const char* src, int64_t channels,
                  int64_t begin, const ptrdiff_t* offsets, char* packed, Block* block) const {
    switch (b.packing) {
      case Packing::none:
        block->x = src + begin * inner.src;
        block->x_pixel = inner.src;
        block->x_channel = product.src_k * table_.step;
        break;
      case Packing::channels:
        if (b.dense)
          pack_runs(src + offsets[0], product.src_k, block->pixels, channels, packed, b.packed_step);
        else
          pack_channels_.pixels(src, product.src_k, offsets, block->pixels, channels, packed, b.packed_step);
        block->x = packed;
        block->x_pixel = item_;
        block->x_channel = b.packed_step;
        break;
      case Packing::pixels:
        if (b.dense)
          pack_channels_.run(src + offsets[0], block->pixels * channels, packed);
        else if (product.src_k == x_item_ || channels == 1)
          for (int64_t k = 0; k < block->pixels; ++k)
            pack_channels_.run(src + offsets[k], channels, packed + k * b.packed_step);
        else
          transpose_source(src + offsets[0], product.src_k, *block, packed, b.packed_step);
        block->x = packed;
        block->x_pixel = b.packed_step;
        block->x_channel = item_;
        break;
    }
  }

  // Packs a range of contiguous pixels of each channel. If src is in L3 or in memory, prefetches the ranges of the next
  // channels, because the CPU's own prefetcher does not go on from one channel to the next.
  void pack_runs(const char* src, ptrdiff_t src_k, int64_t pixels, int64_t channels, char* packed,
                 ptrdiff_t packed_step) const {
    constexpr int64_t ahead = 2, line = 64;
    const int64_t fetched = plan_.source == Level::l2 ? 0 : channels - ahead;
    for (int64_t k = 0; k < channels; ++k, src += src_k) {
      if (k < fetched)
        for (int64_t at = 0; at < pixels * x_item_; at += line) __builtin_prefetch(src + ahead * src_k + at);
      pack_.run(src, pixels, packed + place(k, channels) * packed_step);
    }
  }

  // Packs src with contiguous pixels so that the channels become contiguous. Calls pack_.pixels with the roles of
  // pixels and channels exchanged.
  void transpose_source(const char* src, ptrdiff_t src_k, const Block& block, char* packed,
                        ptrdiff_t packed_step) const {
    constexpr int64_t together = 64;
    ptrdiff_t offsets[together];
    for (int64_t i = 0; i < block.input_channels; i += together) {
      const int64_t count = std::min(together, block.input_channels - i);
      for (int64_t k = 0; k < count; ++k) offsets[k] = (place(i + k, block.input_channels) - i) * src_k;
      pack_.pixels(src + i * src_k, x_item_, offsets, count, block.pixels, packed + i * item_, packed_step);
    }
  }

  // Returns the position of an input channel in packed src.
  int64_t place(int64_t channel, int64_t channels) const {
    return weights_.swapped ? place_in_pairs(channel, channels) : channel;
  }

  // Multiplies packed pixels by the input scales of their images.
  void scale_packed(const Blocking& b, const char* scale, const ptrdiff_t* offsets, const Block& block,
                    char* packed) const {
    const bool by_column = b.packing == Packing::pixels;
    for (int64_t begin = 0, end; begin < block.pixels; begin = end) {
      end = begin + 1;
      while (end < block.pixels && offsets[end] == offsets[begin]) ++end;
      const char* factors = scale + offsets[begin];
      if (by_column)
        table_.scale(packed + begin * b.packed_step, b.packed_step, end - begin, block.input_channels, factors, true);
      else
        table_.scale(packed + begin * item_, b.packed_step, block.input_channels, end - begin, factors, false);
    }
    if (x_item_ != item_ && info(plan_.product.types.x).floating && table_.step == 1)
      round_packed(packed, b.packed_step, by_column ? block.pixels : block.input_channels,
                   by_column ? block.input_channels : block.pixels);
  }

  // Rounds rows of packed numbers to the dtype of src.
  void round_packed(char* row, ptrdiff_t step, int64_t rows, int64_t count) const {
    constexpr int64_t together = 256;
    char rounded[together * sizeof(uint16_t)];
    const Convert round = table_.convert[plan_.product.types.x];
    for (int64_t r = 0; r < rows; ++r, row += step)
      for (int64_t i = 0; i < count; i += together) {
        const int64_t some = std::min(together, count - i);
        round(row + i * item_, some, rounded, x_item_);
        pack_.run(rounded, some, row + i * item_);
      }
  }

  const Plan& plan_;
  const PackedWeights& weights_;
  const Arrays arrays_;
  char* scratch_;
  const KernelTable& table_;
  const KernelTable& sums_table_;  // for weights of the dtype of the sums
  const Pack& pack_;               // packs src without a change of the order of its channels
  const Pack& pack_channels_;      // packs src in the order of packed channels
  const Convert convert_;          // null if results are stored to dst without a conversion
  // Bytes of a number: `item_` in weights, sums and residual, `x_item_` in src, `y_item_` in dst.
  const ptrdiff_t item_, x_item_, y_item_;
};

}  // namespace

void run_plan(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, int team) {
  const auto run_on = [&](char* scratch) {
    const Run run(plan, weights, arrays, scratch);
    parallel(
        team, plan.pieces, [&plan](int part, int parts) { return plan.first_piece(part, parts); },
        [&run](int64_t piece, int thread) { run.piece(piece, thread); }, weights.flush_subnormals);
  };
  if (plan.workspace.bytes() == 0) return run_on(nullptr);
  thread_local Scratch scratch;
  run_on(scratch.get(allocation_size(plan.workspace.bytes(), team)));
  scratch.trim();
}

void run_serially(const Plan& plan, const PackedWeights& weights, const Arrays& arrays, char* scratch) {
  const Run run(plan, weights, arrays, scratch);
  for (int64_t piece = 0; piece < plan.pieces; ++piece) run.piece(piece, 0);
}

}  // namespace pointwise
