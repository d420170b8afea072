// Checks that sums have the canonical order of kernels/kernel.h. So the bits do not depend on threads, batch, layout,
// view or instruction set. Portable kernels promise only the error bound.
#include <gtest/gtest.h>

#include "kernel_case.h"
#include "problem.h"
#include "product/blocking.h"
#include "threads/team_size.h"

namespace pointwise_tests {
namespace {

using pointwise::Layer;

template <class T>
class Bits : public testing::Test {
 protected:
  Bits() { pointwise::force_teams(true); }
  ~Bits() override { pointwise::force_teams(false); }
  static bool promised() { return pointwise::isa() != "portable"; }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Bits, Types, );

// Compares all instruction sets of the CPU with the canonical order, not only the selected one. So all instruction sets
// also agree with each other.
TYPED_TEST(Bits, EveryInstructionSetAgrees) {
  using T = TypeParam;
  Arena arena;
  std::string ran;
  for (const pointwise::Isa& isa : pointwise::all_isas()) {
    if (std::string(isa.name) == "portable" || std::string(isa.name) != isa.floating || !isa.supported()) continue;
    ran += std::string(" ") + isa.name;
    const KernelTable& table = isa.kernels(dtype_of<T>());
    for (int i = 0; i < table.rows.count; ++i) {
      const KernelRow& row = table.rows[i];
      if (!takes_cases(row)) continue;
      SCOPED_TRACE(row.name);
      for (const int64_t inputs : {1, 7, 100, 1500})
        for (int bits = 0; bits < 8; ++bits) {
          Random random(bits);  // every row gets the same data
          const Lie x = lie_for(row);
          const Lie y = bits & 4 ? Lie::channel_major : Lie::pixel_major;
          KernelCase<T> k({37, 21, inputs}, x, y, y, (bits & 1) != 0, true, random);
          for (std::vector<T>* numbers : {&k.x, &k.weights, &k.bias, &k.residual})
            *numbers = reals<T>(static_cast<int64_t>(numbers->size()), random);
          if (bits & 2) k.floor = 0;
          k.lay_out(&arena, 0);
          k.run(row, &arena);
          ASSERT_EQ(k.difference(0), "");
        }
    }
  }
  if (ran.empty()) GTEST_SKIP() << "this CPU has neither AVX2 nor AVX-512";
  std::cout << "compared:" << ran << "\n";
}

template <class T>
std::vector<T> transposed(const std::vector<T>& a, int64_t n, int64_t rows, int64_t columns) {
  std::vector<T> b(a.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        b[static_cast<size_t>((i * columns + c) * rows + r)] = a[static_cast<size_t>((i * rows + r) * columns + c)];
  return b;
}

TYPED_TEST(Bits, ThreadsBatchLayoutAndViewsAgree) {
  using T = TypeParam;
  if (!this->promised()) GTEST_SKIP() << "the portable kernels promise the error bound, but not the bits";
  constexpr pointwise::DType dtype = dtype_of<T>();
  struct Size {
    int64_t n, c_in, c_out, h, w;
  };
  constexpr Size sizes[] = {{1, 3, 3, 5, 5},      {4, 64, 48, 7, 7},   {3, 33, 17, 14, 13},
                            {2, 2100, 40, 7, 7},  {5, 130, 257, 1, 1}, {2, 96, 100, 40, 41},
                            {16, 512, 200, 7, 7}, {1, 1, 1, 60, 60},   {7, 1000, 90, 3, 3}};
  Random random(50);
  for (const Size& s : sizes) {
    const int64_t pixels = s.h * s.w;
    const std::vector<T> weights = reals<T>(s.c_out * s.c_in, random), bias = reals<T>(s.c_out, random);
    const std::vector<T> src = reals<T>(s.n * s.c_in * pixels, random), add = reals<T>(s.n * s.c_out * pixels, random);
    const View weights_view(weights.data(), dtype, {s.c_out, s.c_in}), bias_view(bias.data(), dtype, {s.c_out});
    Options options;
    options.dtype = dtype;
    const Layer nchw(weights_view, &bias_view, options);
    options.layout = "NHWC";
    const Layer nhwc(weights_view, &bias_view, options);
    const Shape src_shape{s.n, s.c_in, s.h, s.w}, dst_shape{s.n, s.c_out, s.h, s.w};
    SCOPED_TRACE(to_string(src_shape) + " -> " + to_string(dst_shape));

    std::vector<T> canonical(add.size());
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t o = 0; o < s.c_out; ++o)
        for (int64_t p = 0; p < pixels; ++p) {
          const T acc = canonical_sum(bias[static_cast<size_t>(o)], s.c_in, [&](int64_t i, T sum) {
            return std::fma(weights[static_cast<size_t>(o * s.c_in + i)],
                            src[static_cast<size_t>((n * s.c_in + i) * pixels + p)], sum);
          });
          const size_t at = static_cast<size_t>((n * s.c_out + o) * pixels + p);
          canonical[at] = acc + add[at];
        }

    const auto view = [](const std::vector<T>& a, const Shape& shape) { return View(a.data(), dtype, shape); };
    const View residual = view(add, dst_shape);
    for (const int threads : {1, 2, 3, 7, 64}) {
      std::vector<T> dst(add.size());
      nchw(view(src, src_shape), view(dst, dst_shape), &residual, threads);
      ASSERT_TRUE(same_bits(dst, canonical)) << threads << " threads";
    }
    {
      std::vector<T> dst(add.size());
      for (int64_t n = 0; n < s.n; ++n) {
        const View one_residual(add.data() + n * s.c_out * pixels, dtype, {1, s.c_out, s.h, s.w});
        nchw(View(src.data() + n * s.c_in * pixels, dtype, {1, s.c_in, s.h, s.w}),
             View(dst.data() + n * s.c_out * pixels, dtype, {1, s.c_out, s.h, s.w}), &one_residual, 1);
      }
      ASSERT_TRUE(same_bits(dst, canonical)) << "image by image";
    }
    for (const int threads : {1, 3}) {
      const std::vector<T> src_last = transposed(src, s.n, s.c_in, pixels),
                           add_last = transposed(add, s.n, s.c_out, pixels);
      std::vector<T> dst(add.size());
      const View residual_last = view(add_last, {s.n, s.h, s.w, s.c_out});
      nhwc(view(src_last, {s.n, s.h, s.w, s.c_in}), view(dst, {s.n, s.h, s.w, s.c_out}), &residual_last, threads);
      ASSERT_TRUE(same_bits(transposed(dst, s.n, pixels, s.c_out), canonical)) << "NHWC";
    }
    for (int turn = 0; turn < 4; ++turn) {  // the same numbers in views with other strides
      const auto scattered = [&](const std::vector<T>& a, const Shape& shape, const Lies& lies) {
        Array<T> array = make_array<T>(shape, lies, random, [] { return T{7}; });
        std::array<int64_t, pointwise::max_rank> index{};
        for (const T& v : a) {
          std::memcpy(array.at(index), &v, sizeof(T));
          for (int i = shape.rank - 1; i >= 0 && ++index[i] == shape[i]; --i) index[i] = 0;
        }
        return array;
      };
      const Lies lies{turn != 0, turn != 1, turn == 2, turn == 3, false};
      const Array<T> x = scattered(src, src_shape, lies), r = scattered(add, dst_shape, lies);
      const Array<T> y = scattered(add, dst_shape, lies);
      nchw(x.view, y.view, &r.view, 1 + turn);
      ASSERT_TRUE(same_bits(y.values(), canonical)) << "views, turn " << turn;
    }
  }
}

}  // namespace
}  // namespace pointwise_tests
