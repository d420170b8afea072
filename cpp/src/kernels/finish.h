// Finishes the sums of a tile and stores the results. The steps for each sum are:
//
//     sum -> add_residual() -> activation -> after(): max(floor, value) -> store() of the place
//
// The bias is not a step, because every sum begins with the bias. If you add a step, add it to one of these functions.
// For example, a conversion to another dtype belongs in store(). Also read the callers of after() in block.h,
// long_rows.h and interleaved.h, which finish rows without the other functions.
//
// A place is the destination of the rows of a tile. A place has the members `layout`, `y`, `residual` and `rows`, and
// two functions:
//     own_rows()             returns y if an activation may store the rows itself, else null
//     with_rows(all, f)      calls f with the first row; `all` is true if all rows of the tile are stored
//     with_residual(all, f)  the same, for a function that only reads the residual
// A row of a place has four functions:
//     has(r)             returns true if row r of the tile is stored
//     residual_at(j)     loads vector j of the residual
//     store(j, v)        stores vector j
//     next()             moves on to the next row
#pragma once

#include "kernels/activations.h"

namespace pointwise {
namespace {

// The strides of the rows of a tile in y and in the residual.
struct RowLayout {
  ptrdiff_t y_row, residual_row;  // bytes from a row to the next row
  int last;                       // lanes in use in the last vector of a row
  bool stream;                    // use non-temporal stores if all rows and lanes are stored; needs 64-byte vectors
};

// Adds the residual of the place to a tile in registers.
template <class V, int MR, int NR, class Place>
POINTWISE_INLINE void add_residual(V (&sums)[MR][NR], const Place& place) {
  place.with_residual(place.rows == MR, [&](auto row) __attribute__((always_inline)) {
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      if (!row.has(r)) return;
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) sums[r][j] = V::add(sums[r][j], row.residual_at(j));
      row.next();
    }
  });
}

// Applies the floor.
template <class V>
POINTWISE_INLINE V after(V sum, V floor) {
  return V::max(floor, sum);
}

// Applies an activation to a tile in registers.
template <class V, int MR, int NR, V (*f)(V, V, V)>
inline void map_tile(V a, V b, V (&sums)[MR][NR]) {
  POINTWISE_UNROLL
  for (int r = 0; r < MR; ++r) {
    POINTWISE_UNROLL
    for (int j = 0; j < NR; ++j) sums[r][j] = f(sums[r][j], a, b);
  }
}

// Finishes `rows` rows of NR vectors, which are contiguous in memory at `sums`. Overwrites `sums`. Tiles of every
// height call the same function. The members of the place are separate arguments, because g++ would build a struct in a
// vector register, and tiles have no free vector register.
template <class V, int NR, class Place>
__attribute__((noinline)) void finish_in_memory(const Epilogue& epilogue, V* sums, const RowLayout& layout, char* y,
                                                const char* residual, int rows) {
  const Place place{layout, y, residual, rows};
  if (residual != nullptr) {
    place.with_residual(true, [&](auto row) {
      for (int r = 0; r < rows; ++r, row.next()) {
        POINTWISE_UNROLL
        for (int j = 0; j < NR; ++j) sums[r * NR + j] = V::add(sums[r * NR + j], row.residual_at(j));
      }
    });
  }
  if (epilogue.activate != nullptr) {
    char *const numbers = reinterpret_cast<char*>(sums), *const own = place.own_rows();
    const int64_t vectors = int64_t{rows} * NR;
    if (own != nullptr) {
      epilogue.activate(epilogue.parameters, numbers, vectors, own, NR, layout.y_row);
      return;
    }
    epilogue.activate(epilogue.parameters, numbers, vectors, numbers, vectors, 0);
  }
  const V floor = V::broadcast(epilogue.floor.address());
  place.with_rows(true, [&](auto row) {
    for (int r = 0; r < rows; ++r, row.next()) {
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) row.store(j, after(sums[r * NR + j], floor));
    }
  });
}

// Applies the floor to a tile in registers and stores the tile.
template <class V, int MR, int NR, class Place>
POINTWISE_INLINE void store_tile(const Epilogue& epilogue, V (&sums)[MR][NR], const Place& place) {
  const V floor = V::broadcast(epilogue.floor.address());
  place.with_rows(place.rows == MR, [&](auto row) __attribute__((always_inline)) {
    POINTWISE_UNROLL
    for (int r = 0; r < MR; ++r) {
      if (!row.has(r)) return;
      POINTWISE_UNROLL
      for (int j = 0; j < NR; ++j) row.store(j, after(sums[r][j], floor));
      row.next();
    }
  });
}

// True if tiles of V apply the cheap activations in registers. This is faster, but adds a tenth to the machine
// code of a kernel file. So only the kernels of AVX2 and AVX-512 for float32 do this.
template <class V>
constexpr bool activates_in_registers = sizeof(typename V::Number) == 4 && V::step == 1 && sizeof(V) > 16;

// Finishes a tile in registers. Applies an expensive activation to a copy of the tile in memory. If
// activates_in_registers<V> is false, applies every activation to such a copy. Tiles of integers have neither a
// residual nor an activation.
template <class V, int MR, int NR, class Place>
POINTWISE_INLINE void finish(const Epilogue& epilogue, V (&sums)[MR][NR], const Place& place) {
  if constexpr (is_floating<V>) {
    if (place.residual != nullptr) add_residual(sums, place);
    if (epilogue.activate != nullptr) {
      if (!activates_in_registers<V> || epilogue.in_registers == Inline::no) {
        V tile[MR * NR];
        POINTWISE_UNROLL
        for (int r = 0; r < MR; ++r) {
          POINTWISE_UNROLL
          for (int j = 0; j < NR; ++j) tile[r * NR + j] = sums[r][j];
        }
        finish_in_memory<V, NR, Place>(epilogue, tile, place.layout, place.y, nullptr, place.rows);
        return;
      }
      if constexpr (activates_in_registers<V>) {
        const V a = V::broadcast(epilogue.parameters[0].address()), b = V::broadcast(epilogue.parameters[1].address());
        switch (epilogue.in_registers) {
          case Inline::no: break;
          case Inline::clip: map_tile<V, MR, NR, clip<V>>(a, b, sums); break;
          case Inline::leaky_relu: map_tile<V, MR, NR, leaky_relu<V>>(a, b, sums); break;
          case Inline::hardswish: map_tile<V, MR, NR, hardswish<V>>(a, b, sums); break;
        }
      }
    }
  }
  store_tile(epilogue, sums, place);
}

// The three ways to store a row. `whole` stores all lanes, and `streamed` stores all lanes with non-temporal stores.
// `part` stores the last vector with a mask, and is also used if some rows of the tile are not stored.
enum class Stored { whole, streamed, part };

// A row of the place `Straight` (below). Only Stored::part needs branches.
template <class V, int NR, Stored S>
struct StraightRow {
  static constexpr ptrdiff_t vector = sizeof(V);
  char* y;
  ptrdiff_t y_row;
  const char* residual;
  ptrdiff_t residual_row;
  int rows;
  decltype(V::first(0)) mask;

  bool has(int r) const { return S != Stored::part || r < rows; }
  V residual_at(int j) const {
    const char* const from = residual + j * vector;
    return S == Stored::part && j == NR - 1 ? V::load(from, mask) : V::load(from);
  }
  void store(int j, V v) const {
    char* const to = y + j * vector;
    if constexpr (S == Stored::streamed)
      v.stream(to);
    else if (S == Stored::part && j == NR - 1)
      v.store(to, mask);
    else
      v.store(to);
  }
  void next() {
    y += y_row;
    residual += residual_row;
  }
};

// A place whose rows are contiguous.
template <class V, int NR>
struct Straight {
  const RowLayout& layout;
  char* y;
  const char* residual;
  int rows;

  char* own_rows() const { return layout.last == V::lanes && !layout.stream ? y : nullptr; }

  // Copies the stride to a local variable, because the compiler must assume that a store changes `layout`. The empty
  // asm statement hides the value of the stride. Otherwise the compiler would keep the address of every row in a
  // register. The multiply-adds need these registers, so other values would spill.
  template <class F>
  POINTWISE_INLINE void with_rows(bool all, const F& f) const {
    ptrdiff_t y_row = layout.y_row;
    asm volatile("" : "+r"(y_row));
    const int last = layout.last;
    const bool whole = all && last == V::lanes;
    if constexpr (sizeof(V) == 64) {
      if (layout.stream && whole) return f(StraightRow<V, NR, Stored::streamed>{y, y_row, nullptr, 0, rows, {}});
    }
    if (whole) return f(StraightRow<V, NR, Stored::whole>{y, y_row, nullptr, 0, rows, {}});
    f(StraightRow<V, NR, Stored::part>{y, y_row, nullptr, 0, rows, V::first(last)});
  }
  template <class F>
  POINTWISE_INLINE void with_residual(bool all, const F& f) const {
    ptrdiff_t residual_row = layout.residual_row;
    asm volatile("" : "+r"(residual_row));
    if (all && layout.last == V::lanes)
      return f(StraightRow<V, NR, Stored::whole>{y, 0, residual, residual_row, rows, {}});
    f(StraightRow<V, NR, Stored::part>{y, 0, residual, residual_row, rows, V::first(layout.last)});
  }
};

}  // namespace
}  // namespace pointwise
