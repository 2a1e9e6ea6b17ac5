// Owns: the list of passes over memory that the ops are made of, and the choice of instruction set for them.
// Refuses to know: TensorFlow, threads and whole tensors: a pass works on one tile of rows and channels.
#pragma once

#include <cstdint>

#include "storage.h"

namespace lockstep {

/** Rows of a tile: sums within one are float32, sums of tiles double. Decides bits, so it depends on nothing. */
constexpr int64_t TILE_ROWS = 128;
/** Channels of a tile at most. */
constexpr int64_t TILE_CHANNELS = 512;

/** How the gradient passes know what the rectifier let through. */
enum class Mask { none, recomputed, output };

/** A matrix's tile: `stride` elements from one row to the next. */
struct Extent {
  int64_t rows;
  int64_t channels;
  int64_t stride;
};

/** Per channel, padded to whole vectors: output = (x - mean) * scale + beta. */
struct Normalisation {
  const float* mean;
  const float* scale;
  const float* beta;
};

template <typename T>
struct NormaliseTile {
  const T* x;
  /** Added before the rectifier; may be null. */
  const T* residual;
  T* y;
  bool rectify;
};

template <typename T>
struct GradientTile {
  const T* gradient;
  /** Second addend of the gradient; may be null. */
  const T* addend;
  /** The rectifier's output, for Mask::output. */
  const T* y;
  const T* x;
  /** Where the sum of the addends goes, with zeros where the rectifier let nothing through; may be null. */
  T* masked;
  Mask mask;
};

/** Per channel: input gradient = slope * gradient + lean * (x - mean) + offset. */
struct InputGradient {
  const float* slope;
  const float* lean;
  const float* offset;
};

struct PoolPlane {
  int64_t height, width, channels, outputHeight, outputWidth;
};

/** Passes for storage of type T. Pointers may be unaligned; arrays of float per channel are padded to whole vectors. */
template <typename T>
struct PassesOf {
  /** Sums of x - shift and of its square, where shift is the tile's first row. */
  void (*moments)(const T* x, Extent extent, float* shift, float* sum, float* squares);
  void (*normalise)(NormaliseTile<T> tile, Extent extent, Normalisation normalisation);
  /** Sums of the masked gradient and of it times (x - mean). */
  void (*gradientSums)(GradientTile<T> tile, Extent extent, Normalisation normalisation, float* sum, float* product);
  /** `masks` says whether the mask is recomputed; gradient and output may be the same memory. */
  void (*inputGradient)(const T* gradient, const T* x, T* output, bool masks, Extent extent,
                        Normalisation normalisation, InputGradient coefficients);
  /** Row `row` of the output of a 3x3 max pool of stride 2 with one pixel of padding that never wins, and each winner's place. */
  void (*poolRow)(const T* image, PoolPlane plane, int64_t row, T* output, uint8_t* places);
  /** Row `row` of the input's gradient; `addend` may be null. */
  void (*poolGradientRow)(const T* gradient, const T* addend, const uint8_t* places, PoolPlane plane, int64_t row,
                          T* output);
};

struct Passes {
  PassesOf<float> float32;
  PassesOf<Bfloat16> bfloat16;
  /** Adds tiles' moments in their order: shift, sum and squares lie `step` floats apart from tile to tile. */
  void (*joinMoments)(const float* shift, const float* sum, const float* squares, int64_t tiles, int64_t step,
                      int64_t rows, int64_t channels, float* mean, double* deviations);
  /** Adds tiles' sums in their order. */
  void (*joinSums)(const float* sums, int64_t tiles, int64_t step, int64_t channels, double* total);
  void (*widen)(const Bfloat16* from, float* to, int64_t count);
  /** To nearest even. */
  void (*round)(const float* from, Bfloat16* to, int64_t count);
};

const Passes& portablePasses();
const Passes& avx2Passes();
const Passes& avx512Passes();

/** All give the same bits; `level` 0 asks for the portable ones, 1 for at most AVX2, more for the best there are. */
const Passes& passesFor(int64_t level);

template <typename T>
const PassesOf<T>& passesOf(const Passes& passes);
template <>
inline const PassesOf<float>& passesOf<float>(const Passes& passes) {
  return passes.float32;
}
template <>
inline const PassesOf<Bfloat16>& passesOf<Bfloat16>(const Passes& passes) {
  return passes.bfloat16;
}

}  // namespace lockstep
