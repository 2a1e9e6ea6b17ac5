// Owns: the ops LockstepBatchNorm and LockstepBatchNormGrad: batch norm in training with what stands behind it in a residual
// net (an addition, a rectifier) in as few passes over memory as there can be. Refuses to know: layers.
// Sums are float32 within a tile and double over the tiles in their order, so threads do not change bits.
#include <cmath>

#include "tiles.h"

namespace lockstep {
namespace {

/** Joins sums for blocks of channels at once. */
template <typename Join>
void joinBlocks(const Tiles& tiles, Join join) {
  parallel(tiles.across, [&](int64_t block) {
    const int64_t first = block * TILE_CHANNELS;
    const int64_t left = tiles.padded - first;
    join(first, left < TILE_CHANNELS ? left : TILE_CHANNELS);
  });
}

template <typename T>
class BatchNorm {
 public:
  explicit BatchNorm(Attributes attributes)
      : passes_(passesFor(attributes.integer("level"))),
        epsilon_(attributes.real("epsilon")),
        rectify_(attributes.truth("rectify")),
        residuals_(attributes.integer("residuals")) {}

  void run(Call call) const {
    const TensorPtr x = call.input(0);
    const Tiles tiles(shapeOf(x));
    const TensorPtr gammaTensor = call.input(1);
    const TensorPtr betaTensor = call.input(2);
    const float* gamma = vectorOf(gammaTensor, tiles.channels);
    const float* beta = vectorOf(betaTensor, tiles.channels);
    const TensorPtr residual = residualOf(call, 3, residuals_, x);
    const TensorPtr y = call.output<T>(0, shapeOf(x));
    const TensorPtr meanTensor = call.output<float>(1, {tiles.channels});
    const TensorPtr varianceTensor = call.output<float>(2, {tiles.channels});
    const TensorPtr deviationTensor = call.output<float>(3, {tiles.channels});

    const auto perChannel = scratch(3 * tiles.padded);
    float* mean = perChannel.get();
    float* scale = mean + tiles.padded;
    float* offset = scale + tiles.padded;
    const std::unique_ptr<double[]> squares(new double[tiles.padded]);
    measure(dataOf<T>(x), tiles, mean, squares.get());
    for (int64_t channel = 0; channel < tiles.padded; channel++) {
      const bool real = channel < tiles.channels;
      const double variance = real ? squares[channel] / static_cast<double>(tiles.rows) : 0;
      const float inverse = static_cast<float>(1 / std::sqrt(variance + epsilon_));
      scale[channel] = real ? gamma[channel] * inverse : 0;
      offset[channel] = real ? beta[channel] : 0;
      if (!real) continue;
      const double unbiased = tiles.rows > 1 ? squares[channel] / static_cast<double>(tiles.rows - 1) : variance;
      dataOf<float>(meanTensor)[channel] = mean[channel];
      dataOf<float>(varianceTensor)[channel] = static_cast<float>(unbiased);
      dataOf<float>(deviationTensor)[channel] = inverse;
    }
    normaliseAll<T>(passes_, tiles, x, residual, y, rectify_, {mean, scale, offset});
  }

 private:
  void measure(const T* x, const Tiles& tiles, float* mean, double* squares) const {
    const int64_t size = tiles.down * tiles.padded;
    const auto sums = scratch(3 * size);
    float* shift = sums.get();
    float* first = shift + size;
    float* second = first + size;
    parallel(tiles.count(), [&](int64_t tile) {
      const int64_t at = tiles.sumsAt(tile);
      passesOf<T>(passes_).moments(x + tiles.at(tile), tiles.extent(tile), shift + at, first + at, second + at);
    });
    joinBlocks(tiles, [&](int64_t at, int64_t channels) {
      passes_.joinMoments(shift + at, first + at, second + at, tiles.down, tiles.padded, tiles.rows, channels,
                          mean + at, squares + at);
    });
  }

  const Passes& passes_;
  const double epsilon_;
  const bool rectify_;
  const int64_t residuals_;
};

template <typename T>
class BatchNormGrad {
 public:
  explicit BatchNormGrad(Attributes attributes)
      : passes_(passesFor(attributes.integer("level"))),
        rectified_(attributes.truth("rectified")),
        addends_(attributes.integer("addends")),
        outputs_(attributes.integer("outputs")),
        residuals_(attributes.integer("residuals")) {}

  void run(Call call) const {
    const TensorPtr gradient = call.input(0);
    const TensorPtr x = call.input(1);
    const Tiles tiles(shapeOf(x));
    requireLike(gradient, x, "the gradient has another shape than what was normalised");
    const TensorPtr vectors[4] = {call.input(2), call.input(3), call.input(4), call.input(5)};
    const float* gamma = vectorOf(vectors[0], tiles.channels);
    const float* beta = vectorOf(vectors[1], tiles.channels);
    const float* givenMean = vectorOf(vectors[2], tiles.channels);
    const float* inverse = vectorOf(vectors[3], tiles.channels);
    const TensorPtr addend = addends_ > 0 ? call.input(6) : nullptr;
    // With a residual only the output tells what the rectifier let through; without one the input does.
    const TensorPtr y = rectified_ && outputs_ > 0 ? call.input(static_cast<int>(6 + addends_)) : nullptr;
    for (const TensorPtr* other : {&addend, &y}) {
      if (*other != nullptr) requireLike(*other, x, "an addend or output has another shape than the gradient");
    }
    const TensorPtr gammaGradient = call.output<float>(1, {tiles.channels});
    const TensorPtr betaGradient = call.output<float>(2, {tiles.channels});

    const auto perChannel = scratch(6 * tiles.padded);
    float* mean = perChannel.get();
    float* scale = mean + tiles.padded;
    float* offset = scale + tiles.padded;
    float* slope = offset + tiles.padded;
    float* lean = slope + tiles.padded;
    float* level = lean + tiles.padded;
    for (int64_t channel = 0; channel < tiles.padded; channel++) {
      const bool real = channel < tiles.channels;
      mean[channel] = real ? givenMean[channel] : 0;
      scale[channel] = real ? gamma[channel] * inverse[channel] : 0;
      offset[channel] = real ? beta[channel] : 0;
    }
    const Mask mask = !rectified_ ? Mask::none : y != nullptr ? Mask::output : Mask::recomputed;
    // The sum of the addends replaces the gradient in its own memory: the caller gives that up.
    const bool writes = addend != nullptr || y != nullptr;
    const std::unique_ptr<double[]> totals(new double[2 * tiles.padded]);
    double* sum = totals.get();
    double* product = sum + tiles.padded;
    addUp({dataOf<T>(gradient), dataOf<T>(addend), dataOf<T>(y), dataOf<T>(x),
           writes ? dataOf<T>(gradient) : nullptr, mask},
          tiles, {mean, scale, offset}, sum, product);
    const double count = static_cast<double>(tiles.rows);
    for (int64_t channel = 0; channel < tiles.padded; channel++) {
      const bool real = channel < tiles.channels;
      const double steep = real ? static_cast<double>(gamma[channel]) * inverse[channel] : 0;
      const double square = real ? static_cast<double>(inverse[channel]) * inverse[channel] : 0;
      slope[channel] = static_cast<float>(steep);
      lean[channel] = static_cast<float>(-steep * square * product[channel] / count);
      level[channel] = static_cast<float>(-steep * sum[channel] / count);
      if (!real) continue;
      dataOf<float>(gammaGradient)[channel] = static_cast<float>(product[channel] * inverse[channel]);
      dataOf<float>(betaGradient)[channel] = static_cast<float>(sum[channel]);
    }
    // The shortcut wants the masked gradient itself, so only without one is its memory free for the input's.
    TensorPtr fresh;
    if (residuals_ > 0) {
      call.handOn(3, gradient);
      fresh = call.output<T>(0, shapeOf(x));
    } else {
      call.handOn(0, gradient);
    }
    T* output = fresh == nullptr ? dataOf<T>(gradient) : dataOf<T>(fresh);
    const bool masks = mask == Mask::recomputed && !writes;
    parallel(tiles.count(), [&](int64_t task) {
      const int64_t tile = tiles.count() - 1 - task;
      const int64_t at = tiles.at(tile);
      const int64_t channel = tiles.firstChannel(tile);
      passesOf<T>(passes_).inputGradient(dataOf<T>(gradient) + at, dataOf<T>(x) + at, output + at, masks,
                                         tiles.extent(tile), {mean + channel, scale + channel, offset + channel},
                                         {slope + channel, lean + channel, level + channel});
    });
  }

 private:
  void addUp(GradientTile<T> whole, const Tiles& tiles, Normalisation normalisation, double* sum,
             double* product) const {
    const int64_t size = tiles.down * tiles.padded;
    const auto sums = scratch(2 * size);
    float* first = sums.get();
    float* second = first + size;
    const auto moved = [](auto* pointer, int64_t by) { return pointer == nullptr ? nullptr : pointer + by; };
    parallel(tiles.count(), [&](int64_t tile) {
      const int64_t at = tiles.at(tile);
      const int64_t channel = tiles.firstChannel(tile);
      const GradientTile<T> part = {whole.gradient + at, moved(whole.addend, at),  moved(whole.y, at),
                                    whole.x + at,        moved(whole.masked, at), whole.mask};
      passesOf<T>(passes_).gradientSums(
          part, tiles.extent(tile),
          {normalisation.mean + channel, normalisation.scale + channel, normalisation.beta + channel},
          first + tiles.sumsAt(tile), second + tiles.sumsAt(tile));
    });
    joinBlocks(tiles, [&](int64_t at, int64_t channels) {
      passes_.joinSums(first + at, tiles.down, tiles.padded, channels, sum + at);
      passes_.joinSums(second + at, tiles.down, tiles.padded, channels, product + at);
    });
  }

  const Passes& passes_;
  const bool rectified_;
  const int64_t addends_;
  const int64_t outputs_;
  const int64_t residuals_;
};

const bool registered =
    // y = gamma * (x - mean) / sqrt(variance + epsilon) + beta [+ residual] [rectified]; mean, unbiased variance and
    // inverse deviation for the gradient.
    registerFor<BatchNorm>({"LockstepBatchNorm",
                            {"T: {float, bfloat16}", "epsilon: float", "rectify: bool", "residuals: int >= 0",
                             "level: int = 2"},
                            {"x: T", "gamma: float", "beta: float", "residual: residuals * T"},
                            {"y: T", "mean: float", "variance: float", "inverse_deviation: float"}}) &&
    // Consumes the memory of `gradient`. With a residual, `output` is y (where rectified) and `shared` the residual's gradient.
    registerFor<BatchNormGrad>({"LockstepBatchNormGrad",
                                {"T: {float, bfloat16}", "rectified: bool", "addends: int >= 0", "outputs: int >= 0",
                                 "residuals: int >= 0", "level: int = 2"},
                                {"gradient: T", "x: T", "gamma: float", "beta: float", "mean: float",
                                 "inverse_deviation: float", "addend: addends * T", "output: outputs * T"},
                                {"input_gradient: T", "gamma_gradient: float", "beta_gradient: float",
                                 "shared: residuals * T"}});

}  // namespace
}  // namespace lockstep
