// Owns: how batch norm's ops cut a tensor into tiles for threads, the pass that normalises all of them, and what these ops refuse.
// Refuses to know: statistics and gradients.
#pragma once

#include <memory>
#include <vector>

#include "op.h"
#include "passes.h"
#include "thread_pool.h"

namespace lockstep {

/** A tensor [..., channels] as a matrix, cut into tiles. */
class Tiles {
 public:
  explicit Tiles(const std::vector<int64_t>& shape) {
    require(!shape.empty(), "batch norm wants at least one axis");
    channels = shape.back();
    for (size_t axis = 0; axis + 1 < shape.size(); axis++) rows *= shape[axis];
    require(rows > 0 && channels > 0, "batch norm of an empty tensor");
    down = (rows + TILE_ROWS - 1) / TILE_ROWS;
    across = (channels + TILE_CHANNELS - 1) / TILE_CHANNELS;
    padded = (channels + PADDING - 1) / PADDING * PADDING;
  }

  int64_t count() const { return down * across; }
  int64_t firstRow(int64_t tile) const { return tile / across * TILE_ROWS; }
  int64_t firstChannel(int64_t tile) const { return tile % across * TILE_CHANNELS; }
  /** Place of the tile's first element. */
  int64_t at(int64_t tile) const { return firstRow(tile) * channels + firstChannel(tile); }
  /** Place of the tile's sums, where `padded` floats belong to each row of tiles. */
  int64_t sumsAt(int64_t tile) const { return tile / across * padded + firstChannel(tile); }
  Extent extent(int64_t tile) const {
    const int64_t rowsLeft = rows - firstRow(tile);
    const int64_t channelsLeft = channels - firstChannel(tile);
    return {rowsLeft < TILE_ROWS ? rowsLeft : TILE_ROWS, channelsLeft < TILE_CHANNELS ? channelsLeft : TILE_CHANNELS,
            channels};
  }

  int64_t rows = 1;
  int64_t channels = 0;
  /** Rows and columns of tiles; channels rounded up to whole vectors. */
  int64_t down = 0;
  int64_t across = 0;
  int64_t padded = 0;
};

/** Floats that nobody has set, for sums. */
inline std::unique_ptr<float[]> scratch(int64_t count) { return std::unique_ptr<float[]>(new float[count]); }

inline void requireLike(const TensorPtr& tensor, const TensorPtr& x, const char* otherwise) {
  require(shapeOf(tensor) == shapeOf(x), otherwise);
}

/** What is added to the normalised x, where there is such a thing. */
inline TensorPtr residualOf(Call& call, int index, int64_t residuals, const TensorPtr& x) {
  if (residuals == 0) return nullptr;
  TensorPtr residual = call.input(index);
  requireLike(residual, x, "the residual has another shape than what it is added to");
  return residual;
}

inline const float* vectorOf(const TensorPtr& tensor, int64_t channels) {
  require(TF_TensorElementCount(tensor.get()) == channels, "batch norm wants one number per channel");
  return dataOf<float>(tensor);
}

/** y = (x - mean) * scale + beta [+ residual] [rectified]; y may be x. */
template <typename T>
void normaliseAll(const Passes& passes, const Tiles& tiles, const TensorPtr& x, const TensorPtr& residual,
                  const TensorPtr& y, bool rectify, Normalisation by) {
  parallel(tiles.count(), [&](int64_t task) {
    // Backwards: where statistics were just taken, what was read last is still in the cache.
    const int64_t tile = tiles.count() - 1 - task;
    const int64_t at = tiles.at(tile);
    const int64_t channel = tiles.firstChannel(tile);
    const T* added = residual == nullptr ? nullptr : dataOf<T>(residual) + at;
    passesOf<T>(passes).normalise({dataOf<T>(x) + at, added, dataOf<T>(y) + at, rectify}, tiles.extent(tile),
                                  {by.mean + channel, by.scale + channel, by.beta + channel});
  });
}

}  // namespace lockstep
