// Owns: the passes themselves, once for all instruction sets: each passes_*.cc includes this under its own.
// Refuses to know: which instruction set that is. No fused multiply-add: all sets give the same bits.

#include "lanes.h"
#include "passes.h"

namespace lockstep {
namespace {

/** Rows whose sums stay in registers at once. */
constexpr int64_t GROUP = 4;

/** Calls work(channel, whole, count) for every vector of channels; `whole` is a type with a constant `value`. */
struct Yes {
  static constexpr bool value = true;
};
struct No {
  static constexpr bool value = false;
};

template <typename Work>
LOCKSTEP_INLINE void overChannels(int64_t channels, Work work) {
  int64_t channel = 0;
  for (; channel + LANES <= channels; channel += LANES) work(channel, Yes{}, LANES);
  if (channel < channels) work(channel, No{}, channels - channel);
}

/** Calls work(row, rows) for groups of rows and for each that is left; `rows` is a type with a constant `value`. */
template <int64_t Count>
struct Rows {
  static constexpr int64_t value = Count;
};

template <typename Work>
LOCKSTEP_INLINE void overRows(int64_t rows, Work work) {
  int64_t row = 0;
  for (; row + GROUP <= rows; row += GROUP) work(row, Rows<GROUP>{});
  for (; row < rows; row++) work(row, Rows<1>{});
}

template <typename T>
void moments(const T* x, Extent extent, float* shift, float* sum, float* squares) {
  overChannels(extent.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
    store(shift + channel, get<T, decltype(whole)::value>(x + channel, count));
    store(sum + channel, Floats{});
    store(squares + channel, Floats{});
  });
  overRows(extent.rows, [&](int64_t row, auto rows) LOCKSTEP_ALWAYS {
    const T* first = x + row * extent.stride;
    overChannels(extent.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
      const Floats origin = load(shift + channel);
      Floats total = load(sum + channel);
      Floats total2 = load(squares + channel);
      for (int64_t next = 0; next < decltype(rows)::value; next++) {
        const Floats value = get<T, decltype(whole)::value>(first + next * extent.stride + channel, count) - origin;
        total += value;
        total2 += value * value;
      }
      store(sum + channel, total);
      store(squares + channel, total2);
    });
  });
}

template <typename T, bool Residual, bool Rectify>
LOCKSTEP_INLINE void normaliseAs(NormaliseTile<T> tile, Extent extent, Normalisation normalisation) {
  overRows(extent.rows, [&](int64_t row, auto rows) LOCKSTEP_ALWAYS {
    overChannels(extent.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
      constexpr bool WHOLE = decltype(whole)::value;
      const Floats mean = load(normalisation.mean + channel);
      const Floats scale = load(normalisation.scale + channel);
      const Floats beta = load(normalisation.beta + channel);
      for (int64_t next = 0; next < decltype(rows)::value; next++) {
        const int64_t at = (row + next) * extent.stride + channel;
        Floats value = (get<T, WHOLE>(tile.x + at, count) - mean) * scale + beta;
        if constexpr (Residual) value += get<T, WHOLE>(tile.residual + at, count);
        if constexpr (Rectify) value = keepWhere(passes(value), value);
        put<T, WHOLE>(tile.y + at, value, count);
      }
    });
  });
}

template <typename T>
void normalise(NormaliseTile<T> tile, Extent extent, Normalisation normalisation) {
  if (tile.residual != nullptr) {
    if (tile.rectify) normaliseAs<T, true, true>(tile, extent, normalisation);
    else normaliseAs<T, true, false>(tile, extent, normalisation);
  } else if (tile.rectify) {
    normaliseAs<T, false, true>(tile, extent, normalisation);
  } else {
    normaliseAs<T, false, false>(tile, extent, normalisation);
  }
}

template <typename T, bool Addend, Mask MASK, bool Writes>
LOCKSTEP_INLINE void gradientSumsAs(GradientTile<T> tile, Extent extent, Normalisation normalisation, float* sum,
                                    float* product) {
  overChannels(extent.channels, [&](int64_t channel, auto, int64_t) LOCKSTEP_ALWAYS {
    store(sum + channel, Floats{});
    store(product + channel, Floats{});
  });
  overRows(extent.rows, [&](int64_t row, auto rows) LOCKSTEP_ALWAYS {
    overChannels(extent.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
      constexpr bool WHOLE = decltype(whole)::value;
      const Floats mean = load(normalisation.mean + channel);
      Floats scale, beta;
      if constexpr (MASK == Mask::recomputed) {
        scale = load(normalisation.scale + channel);
        beta = load(normalisation.beta + channel);
      }
      Floats total = load(sum + channel);
      Floats total2 = load(product + channel);
      for (int64_t next = 0; next < decltype(rows)::value; next++) {
        const int64_t at = (row + next) * extent.stride + channel;
        Floats gradient = get<T, WHOLE>(tile.gradient + at, count);
        if constexpr (Addend) gradient += get<T, WHOLE>(tile.addend + at, count);
        const Floats deviation = get<T, WHOLE>(tile.x + at, count) - mean;
        if constexpr (MASK == Mask::recomputed) gradient = keepWhere(passes(deviation * scale + beta), gradient);
        if constexpr (MASK == Mask::output) gradient = keepWhere(passes(get<T, WHOLE>(tile.y + at, count)), gradient);
        if constexpr (Writes) put<T, WHOLE>(tile.masked + at, gradient, count);
        total += gradient;
        total2 += gradient * deviation;
      }
      store(sum + channel, total);
      store(product + channel, total2);
    });
  });
}

template <typename T, bool Addend, Mask MASK>
LOCKSTEP_INLINE void gradientSumsMasked(GradientTile<T> tile, Extent extent, Normalisation normalisation, float* sum,
                                        float* product) {
  if (tile.masked != nullptr) gradientSumsAs<T, Addend, MASK, true>(tile, extent, normalisation, sum, product);
  else gradientSumsAs<T, Addend, MASK, false>(tile, extent, normalisation, sum, product);
}

template <typename T, bool Addend>
LOCKSTEP_INLINE void gradientSumsAdded(GradientTile<T> tile, Extent extent, Normalisation normalisation, float* sum,
                                       float* product) {
  switch (tile.mask) {
    case Mask::none:
      return gradientSumsMasked<T, Addend, Mask::none>(tile, extent, normalisation, sum, product);
    case Mask::recomputed:
      return gradientSumsMasked<T, Addend, Mask::recomputed>(tile, extent, normalisation, sum, product);
    case Mask::output:
      return gradientSumsMasked<T, Addend, Mask::output>(tile, extent, normalisation, sum, product);
  }
}

template <typename T>
void gradientSums(GradientTile<T> tile, Extent extent, Normalisation normalisation, float* sum, float* product) {
  if (tile.addend != nullptr) gradientSumsAdded<T, true>(tile, extent, normalisation, sum, product);
  else gradientSumsAdded<T, false>(tile, extent, normalisation, sum, product);
}

template <typename T, bool Masks>
LOCKSTEP_INLINE void inputGradientAs(const T* gradient, const T* x, T* output, Extent extent,
                                     Normalisation normalisation, InputGradient coefficients) {
  overRows(extent.rows, [&](int64_t row, auto rows) LOCKSTEP_ALWAYS {
    overChannels(extent.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
      constexpr bool WHOLE = decltype(whole)::value;
      const Floats mean = load(normalisation.mean + channel);
      Floats scale, beta;
      if constexpr (Masks) {
        scale = load(normalisation.scale + channel);
        beta = load(normalisation.beta + channel);
      }
      const Floats slope = load(coefficients.slope + channel);
      const Floats lean = load(coefficients.lean + channel);
      const Floats offset = load(coefficients.offset + channel);
      for (int64_t next = 0; next < decltype(rows)::value; next++) {
        const int64_t at = (row + next) * extent.stride + channel;
        const Floats deviation = get<T, WHOLE>(x + at, count) - mean;
        Floats value = get<T, WHOLE>(gradient + at, count);
        if constexpr (Masks) value = keepWhere(passes(deviation * scale + beta), value);
        put<T, WHOLE>(output + at, value * slope + (deviation * lean + offset), count);
      }
    });
  });
}

template <typename T>
void inputGradient(const T* gradient, const T* x, T* output, bool masks, Extent extent, Normalisation normalisation,
                   InputGradient coefficients) {
  if (masks) inputGradientAs<T, true>(gradient, x, output, extent, normalisation, coefficients);
  else inputGradientAs<T, false>(gradient, x, output, extent, normalisation, coefficients);
}

template <typename T>
void poolRow(const T* image, PoolPlane plane, int64_t row, T* output, uint8_t* places) {
  for (int64_t column = 0; column < plane.outputWidth; column++) {
    overChannels(plane.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
      constexpr bool WHOLE = decltype(whole)::value;
      Floats best = {};
      Words place = {};
      bool any = false;
      for (int64_t down = 0; down < 3; down++) {
        const int64_t y = 2 * row - 1 + down;
        if (y < 0 || y >= plane.height) continue;
        for (int64_t right = 0; right < 3; right++) {
          const int64_t x = 2 * column - 1 + right;
          if (x < 0 || x >= plane.width) continue;
          const Floats value = get<T, WHOLE>(image + (y * plane.width + x) * plane.channels + channel, count);
          const Words here = Words{} + (uint32_t)(3 * down + right);
          // The first of equals stays; a NaN wins over every number, so that it is not lost.
          const Truths wins = any ? (value > best) | ((value != value) & (best == best)) : ~Truths{};
          best = wins ? value : best;
          place = wins ? here : place;
          any = true;
        }
      }
      put<T, WHOLE>(output + column * plane.channels + channel, best, count);
      const Bytes narrow = __builtin_convertvector(place, Bytes);
      memcpy(places + column * plane.channels + channel, &narrow, WHOLE ? LANES : count);
    });
  }
}

template <typename T>
void poolGradientRow(const T* gradient, const T* addend, const uint8_t* places, PoolPlane plane, int64_t row,
                     T* output) {
  const int64_t firstRow = row / 2;
  const int64_t lastRow = (row + 1) / 2 < plane.outputHeight ? (row + 1) / 2 : plane.outputHeight - 1;
  for (int64_t column = 0; column < plane.width; column++) {
    const int64_t firstColumn = column / 2;
    const int64_t lastColumn = (column + 1) / 2 < plane.outputWidth ? (column + 1) / 2 : plane.outputWidth - 1;
    overChannels(plane.channels, [&](int64_t channel, auto whole, int64_t count) LOCKSTEP_ALWAYS {
      constexpr bool WHOLE = decltype(whole)::value;
      Floats total = {};
      for (int64_t y = firstRow; y <= lastRow; y++) {
        for (int64_t x = firstColumn; x <= lastColumn; x++) {
          const int64_t at = (y * plane.outputWidth + x) * plane.channels + channel;
          const uint32_t place = (uint32_t)(3 * (row - (2 * y - 1)) + column - (2 * x - 1));
          Bytes narrow = {};
          memcpy(&narrow, places + at, WHOLE ? LANES : count);
          Floats value = get<T, WHOLE>(gradient + at, count);
          if (addend != nullptr) value += get<T, WHOLE>(addend + at, count);
          total += keepWhere(__builtin_convertvector(narrow, Words) == place, value);
        }
      }
      put<T, WHOLE>(output + column * plane.channels + channel, total, count);
    });
  }
}

LOCKSTEP_INLINE Doubles widen(const float* from) { return __builtin_convertvector(load(from), Doubles); }

/** Tiles' sums moved to the first tile's shift; a tile has TILE_ROWS rows, the last what is left. */
void joinMoments(const float* shift, const float* sum, const float* squares, int64_t tiles, int64_t step, int64_t rows,
                 int64_t channels, float* mean, double* deviations) {
  for (int64_t channel = 0; channel < channels; channel += LANES) {
    const Doubles origin = widen(shift + channel);
    Doubles total = {};
    Doubles total2 = {};
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t at = tile * step + channel;
      const double count = tile + 1 < tiles ? TILE_ROWS : rows - tile * TILE_ROWS;
      const Doubles moved = widen(shift + at) - origin;
      const Doubles part = widen(sum + at);
      total += part + moved * count;
      total2 += widen(squares + at) + moved * (part + part + moved * count);
    }
    const Doubles offset = total / (double)rows;
    const Doubles rest = total2 - total * offset;
    store(mean + channel, __builtin_convertvector(origin + offset, Floats));
    memcpy(deviations + channel, &rest, sizeof rest);
  }
}

void joinSums(const float* sums, int64_t tiles, int64_t step, int64_t channels, double* total) {
  for (int64_t channel = 0; channel < channels; channel += LANES) {
    Doubles whole = {};
    for (int64_t tile = 0; tile < tiles; tile++) whole += widen(sums + tile * step + channel);
    memcpy(total + channel, &whole, sizeof whole);
  }
}

template <typename From, typename To>
void convert(const From* from, To* to, int64_t count) {
  overChannels(count, [&](int64_t at, auto whole, int64_t lanes) LOCKSTEP_ALWAYS {
    put<To, decltype(whole)::value>(to + at, get<From, decltype(whole)::value>(from + at, lanes), lanes);
  });
}

template <typename T>
constexpr PassesOf<T> PASSES_OF = {moments<T>,       normalise<T>, gradientSums<T>,
                                   inputGradient<T>, poolRow<T>,   poolGradientRow<T>};

constexpr Passes PASSES = {PASSES_OF<float>, PASSES_OF<Bfloat16>, joinMoments, joinSums,
                           convert<Bfloat16, float>, convert<float, Bfloat16>};

}  // namespace
}  // namespace lockstep
