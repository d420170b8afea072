// Layer::tune(): measures the ways to compute a product, and keeps the fastest.
#include "convolution/tuning.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "base/checked.h"
#include "base/clock.h"
#include "base/float_environment.h"
#include "base/numbers.h"
#include "base/types.h"
#include "convolution/layer.h"
#include "kernels/registry.h"
#include "memory/aligned.h"
#include "product/driver.h"

namespace pointwise {
namespace {

// The number of a way has fields of these widths, beginning with the lowest bit. The highest bit of the number is set.
constexpr int row_bits = 16, axes_bits = 8, packing_bits = 8, tail_bits = 24;
constexpr uint64_t serial_bit = uint64_t{1} << 62, way_bit = uint64_t{1} << 63;

constexpr std::array<const char*, 3> packing_names{"none", "channels", "pixels"};  // in the order of Packing

// A timing block lasts about this long, unless a single call lasts longer.
constexpr double block_seconds = 4e-4;
// A way whose first call takes more than this multiple of the fastest first call is left out. A first call is slower
// than later calls, but by less than this factor.
constexpr double slow_first_call = 3;
// In the search, a way is left out if its best block takes more than this multiple of the best block of all.
constexpr double behind = 1.15;
constexpr int search_rounds = 4;
// The search takes at most this share of the time. The rest is for the comparison of prediction and challenger.
constexpr double search_share = 0.5;
// The comparison has this number of rounds. The challenger must win the share `least_wins` of the rounds, and be faster
// by the factor `least_gain`.
constexpr int least_rounds = 5, most_rounds = 40;
constexpr double least_wins = 0.8, least_gain = 1.02;

struct Contender {
  PlannedWay planned;
  int64_t repetitions = 1;
  double seconds = std::numeric_limits<double>::infinity();  // per call, in the best block
  bool stays = true;
};

double now() { return 1e-9 * static_cast<double>(monotonic_nanoseconds()); }

// The arrays of the measurement. src has numbers from -1 to 1, because subnormal numbers and NaN may take longer.
struct Buffers {
  AlignedBytes src, dst;

  Buffers(const View& src_view, const View& dst_view)
      : src(allocate_aligned(bytes_of(src_view))), dst(allocate_aligned(bytes_of(dst_view))) {
    constexpr int64_t count = 4096;
    std::array<char, count * sizeof(double)> pattern;
    const int64_t item = item_size(src_view.dtype), bytes = bytes_of(src_view);
    uint32_t random = 1;
    for (int64_t i = 0; i < count; ++i) {
      random = random * 1664525 + 1013904223;
      const double unit = static_cast<int32_t>(random) / 2147483648.0;
      write_number(src_view.dtype, pattern.data() + i * item, info(src_view.dtype).floating ? unit : 100 * unit);
    }
    for (int64_t i = 0; i < bytes; i += count * item)
      std::memcpy(src.get() + i, pattern.data(), static_cast<size_t>(std::min(count * item, bytes - i)));
    std::memset(dst.get(), 0, static_cast<size_t>(bytes_of(dst_view)));  // maps the pages
  }

  static int64_t bytes_of(const View& view) {
    int64_t bytes = item_size(view.dtype);
    for (int i = 0; i < view.shape.rank; ++i) bytes = allocation_size(bytes, view.shape[i]);
    return bytes;
  }
};

// Measures ways for a limited time.
class Measurement {
 public:
  Measurement(const PackedWeights& weights, const Arrays& arrays, double start, double seconds)
      : weights_(weights), arrays_(arrays), start_(start), seconds_(seconds) {}

  // Returns the index of the fastest way and its gain over the first way. Returns {0, 1} unless the gain is clear.
  std::pair<size_t, double> fastest(std::vector<Contender>* all) const {
    const size_t challenger = search(all);
    const double gain = challenger == 0 ? 1 : compare((*all)[0], (*all)[challenger]);
    return gain > 1 ? std::make_pair(challenger, gain) : std::make_pair(size_t{0}, 1.0);
  }

 private:
  bool over(double share) const { return now() - start_ >= share * seconds_; }

  // Returns the seconds per call.
  double block(const Contender& contender, int64_t repetitions) const {
    const Plan& plan = contender.planned.plan;
    const double begin = now();
    for (int64_t i = 0; i < repetitions; ++i) run_plan(plan, weights_, arrays_, plan.team);
    return (now() - begin) / static_cast<double>(repetitions);
  }

  // Returns the fastest way, by a tournament. Ways with a good prediction come first, because the time may end before
  // all ways are measured.
  size_t search(std::vector<Contender>* all) const {
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < all->size(); ++i) {
      Contender& c = (*all)[i];
      c.stays = i == 0 || !over(search_share);
      if (!c.stays) continue;
      const double first = block(c, 1);
      c.stays = i == 0 || first <= slow_first_call * least;
      least = std::min(least, first);
      if (!c.stays || over(search_share)) continue;
      const double once = std::min(first, block(c, 1));
      c.repetitions = std::max<int64_t>(1, static_cast<int64_t>(block_seconds / std::max(once, 1e-7)));
      c.seconds = once;
    }
    for (int round = 0; round < search_rounds && !over(search_share); ++round) {
      double best = std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < all->size() && !over(search_share); ++i) {
        Contender& c = (*all)[i];
        if (c.stays) c.seconds = round == 0 ? block(c, c.repetitions) : std::min(c.seconds, block(c, c.repetitions));
      }
      for (const Contender& c : *all)
        if (c.stays) best = std::min(best, c.seconds);
      for (size_t i = 1; i < all->size(); ++i) (*all)[i].stays = (*all)[i].stays && (*all)[i].seconds <= behind * best;
    }
    size_t fastest = 0;
    for (size_t i = 1; i < all->size(); ++i)
      if ((*all)[i].stays && (*all)[i].seconds < (*all)[fastest].seconds) fastest = i;
    return fastest;
  }

  // Measures the prediction and a challenger in turn. Returns the gain, or 1 unless the challenger is clearly faster.
  double compare(const Contender& prediction, const Contender& challenger) const {
    const int64_t repetitions = std::max(prediction.repetitions, challenger.repetitions);
    std::vector<double> ours, theirs;
    int wins = 0;
    while (static_cast<int>(ours.size()) < most_rounds && !over(1)) {
      const bool first = ours.size() % 2 == 0;  // alternates, because a falling CPU clock favours the first
      const double a = block(first ? prediction : challenger, repetitions);
      if (over(1)) break;
      const double b = block(first ? challenger : prediction, repetitions);
      ours.push_back(first ? a : b);
      theirs.push_back(first ? b : a);
      wins += theirs.back() < ours.back();
    }
    const int rounds = static_cast<int>(ours.size());
    if (rounds < least_rounds || wins < least_wins * rounds) return 1;
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    const double gain = std::min(ours[0] / theirs[0], ours[rounds / 2] / theirs[rounds / 2]);
    return gain >= least_gain ? gain : 1;
  }

  const PackedWeights& weights_;
  const Arrays& arrays_;
  double start_, seconds_;
};

}  // namespace

uint64_t number_of(const Way& way) {
  int shift = 0;
  const auto field = [&shift](int64_t value, int bits) {
    const uint64_t placed = static_cast<uint64_t>(value) << shift;
    shift += bits;
    return placed;
  };
  uint64_t number = way_bit | (way.serial ? serial_bit : 0);
  number |= field(way.kernel_row, row_bits);
  number |= field(way.n_axes, axes_bits);
  number |= field(static_cast<int>(way.packing), packing_bits);
  number |= field(way.tail, tail_bits);
  return number;
}

Way way_of(uint64_t number) {
  uint64_t rest = number;
  const auto field = [&rest](int bits) {
    const uint64_t value = rest & ((uint64_t{1} << bits) - 1);
    rest >>= bits;
    return value;
  };
  Way way;
  way.kernel_row = static_cast<int>(field(row_bits));
  way.n_axes = static_cast<int>(field(axes_bits));
  way.packing = static_cast<Packing>(field(packing_bits));
  way.tail = static_cast<int64_t>(field(tail_bits));
  way.serial = (number & serial_bit) != 0;
  return way;
}

Choices::~Choices() {
  for (Entry* entry = first_.load(); entry != nullptr;) {
    Entry* const next = entry->next;
    delete entry;
    entry = next;
  }
}

uint64_t Choices::find_from(const Entry* first, const Shape& src, DType src_dtype, int threads, bool* is_tuned) {
  for (const Entry* entry = first; entry != nullptr; entry = entry->next)
    if (entry->threads == threads && entry->src_dtype == src_dtype && entry->src == src) {
      if (is_tuned) *is_tuned = true;
      return entry->way.load(std::memory_order_relaxed);
    }
  return predicted;
}

void Choices::set(const Shape& src, DType src_dtype, int threads, uint64_t way) {
  std::unique_ptr<Entry> added;
  for (;;) {
    Entry* const first = first_.load(std::memory_order_acquire);
    for (Entry* entry = first; entry != nullptr; entry = entry->next)
      if (entry->threads == threads && entry->src_dtype == src_dtype && entry->src == src) {
        entry->way.store(way, std::memory_order_relaxed);
        return;
      }
    if (!added) added.reset(new Entry{src, src_dtype, threads, {way}, nullptr});
    added->next = first;
    Entry* expected = first;
    if (first_.compare_exchange_strong(expected, added.get(), std::memory_order_acq_rel)) {
      added.release();
      return;
    }
  }
}

std::vector<Choice> Choices::all(DType sum) const {
  std::vector<Choice> found;
  for (const Entry* entry = first_.load(std::memory_order_acquire); entry != nullptr; entry = entry->next) {
    Choice choice;
    choice.src_shape = entry->src;
    choice.src_dtype = entry->src_dtype;
    choice.threads = entry->threads;
    if (const uint64_t number = entry->way.load(std::memory_order_relaxed); number != predicted) {
      const Way way = way_of(number);
      choice.kernel = kernels(sum).rows[way.kernel_row].name;
      choice.pixel_axes = way.n_axes;
      choice.packing = packing_names[static_cast<size_t>(way.packing)];
      choice.tail = way.tail;
      choice.serial = way.serial;
    }
    found.push_back(choice);
  }
  std::reverse(found.begin(), found.end());  // the order in which the choices were made
  return found;
}

double Layer::tune(const Shape& src_shape, std::optional<DType> src_dtype, double seconds) const {
  const double start = now();
  const FloatEnvironment environment;
  if (!(seconds > 0 && std::isfinite(seconds)))
    throw Error(Argument::seconds, "must be a positive, finite number, got " + std::to_string(seconds));
  const Impl& layer = *impl_;
  View src, dst;
  make_views(layer.options, layer.options, src_shape, output_shape(src_shape), &src, &dst, src_dtype);
  validate_src_dtype(layer.options, src);
  if (layer.borrowed) return 1;
  const Product product = lower_call(layer, src, dst, nullptr, nullptr);
  if (product.boxes == 0) return 1;
  const int threads = threads_to_explain();
  const Buffers buffers(src, dst);
  std::vector<Contender> contenders;
  for (PlannedWay& way : all_ways(product, threads)) contenders.push_back({std::move(way)});
  const Arrays arrays{buffers.src.get(), buffers.dst.get()};
  const auto [index, gain] = Measurement(layer.weights, arrays, start, seconds).fastest(&contenders);
  layer.choices.set(src.shape, src.dtype, threads,
                    index == 0 ? Choices::predicted : number_of(contenders[index].planned.way));
  return gain;
}

std::vector<Choice> Layer::choices() const { return impl_->choices.all(impl_->weights.dtype); }

void Layer::adopt(const std::vector<Choice>& choices) const {
  const KernelRows& rows = kernels(impl_->weights.dtype).rows;
  for (const Choice& choice : choices) {
    if (choice.threads < 1 || choice.src_shape.rank != impl_->layout.rank) continue;
    if (choice.kernel.empty()) {
      impl_->choices.set(choice.src_shape, choice.src_dtype, choice.threads, Choices::predicted);
      continue;
    }
    Way way;
    way.n_axes = choice.pixel_axes;
    way.tail = choice.tail;
    way.serial = choice.serial;
    const auto* const name = std::find(packing_names.begin(), packing_names.end(), choice.packing);
    way.packing = static_cast<Packing>(name - packing_names.begin());
    way.kernel_row = 0;
    while (way.kernel_row < rows.count && choice.kernel != rows[way.kernel_row].name) ++way.kernel_row;
    const bool fits = way.kernel_row < rows.count && name != packing_names.end() && way.n_axes >= 1 &&
                      way.n_axes <= max_axes && way.tail >= 0 && way.tail < int64_t{1} << tail_bits;
    // If the way is impossible for this shape, a call notices this when it makes the plan.
    if (fits) impl_->choices.set(choice.src_shape, choice.src_dtype, choice.threads, number_of(way));
  }
}

}  // namespace pointwise
