// Owns: the ops LockstepNormalise and LockstepNormaliseAgain: batch norm by statistics that are there already, with the addition and
// the rectifier behind it. Refuses to know: how statistics are taken (batch_norm.cc), and layers.
#include <cmath>

#include "tiles.h"

namespace lockstep {
namespace {

/** Three vectors of one number per channel, padded with zeros. */
class Coefficients {
 public:
  Coefficients(const Tiles& tiles, const float* mean, const float* beta)
      : padded_(tiles.padded), channels_(tiles.channels), numbers_(new float[3 * tiles.padded]()) {
    for (int64_t channel = 0; channel < channels_; channel++) {
      numbers_[channel] = mean[channel];
      numbers_[2 * padded_ + channel] = beta[channel];
    }
  }

  template <typename Scale>
  Normalisation scaledBy(Scale scale) {
    for (int64_t channel = 0; channel < channels_; channel++) numbers_[padded_ + channel] = scale(channel);
    return {numbers_.get(), numbers_.get() + padded_, numbers_.get() + 2 * padded_};
  }

 private:
  const int64_t padded_;
  const int64_t channels_;
  const std::unique_ptr<float[]> numbers_;
};

template <typename T>
class Normalise {
 public:
  explicit Normalise(Attributes attributes)
      : passes_(passesFor(attributes.integer("level"))),
        epsilon_(attributes.real("epsilon")),
        rectify_(attributes.truth("rectify")),
        residuals_(attributes.integer("residuals")) {}

  void run(Call call) const {
    const TensorPtr x = call.input(0);
    const Tiles tiles(shapeOf(x));
    const TensorPtr vectors[4] = {call.input(1), call.input(2), call.input(3), call.input(4)};
    const float* gamma = vectorOf(vectors[0], tiles.channels);
    const float* beta = vectorOf(vectors[1], tiles.channels);
    const float* mean = vectorOf(vectors[2], tiles.channels);
    const float* variance = vectorOf(vectors[3], tiles.channels);
    const TensorPtr residual = residuals_ > 0 ? call.input(5) : nullptr;
    if (residual != nullptr) requireLike(residual, x, "the residual has another shape than what it is added to");
    call.handOn(0, x);
    Coefficients coefficients(tiles, mean, beta);
    const Normalisation by = coefficients.scaledBy([&](int64_t channel) {
      return static_cast<float>(gamma[channel] / std::sqrt(variance[channel] + epsilon_));
    });
    normaliseAll<T>(passes_, tiles, x, residual, x, rectify_, by);
  }

 private:
  const Passes& passes_;
  const double epsilon_;
  const bool rectify_;
  const int64_t residuals_;
};

template <typename T>
class NormaliseAgain {
 public:
  explicit NormaliseAgain(Attributes attributes)
      : passes_(passesFor(attributes.integer("level"))),
        rectify_(attributes.truth("rectify")),
        residuals_(attributes.integer("residuals")) {}

  void run(Call call) const {
    const TensorPtr x = call.input(0);
    const Tiles tiles(shapeOf(x));
    const TensorPtr vectors[4] = {call.input(1), call.input(2), call.input(3), call.input(4)};
    const float* gamma = vectorOf(vectors[0], tiles.channels);
    const float* beta = vectorOf(vectors[1], tiles.channels);
    const float* mean = vectorOf(vectors[2], tiles.channels);
    const float* inverse = vectorOf(vectors[3], tiles.channels);
    const TensorPtr residual = residuals_ > 0 ? call.input(5) : nullptr;
    if (residual != nullptr) requireLike(residual, x, "the residual has another shape than what it is added to");
    const TensorPtr y = call.output<T>(0, shapeOf(x));
    Coefficients coefficients(tiles, mean, beta);
    const Normalisation by = coefficients.scaledBy([&](int64_t channel) { return gamma[channel] * inverse[channel]; });
    normaliseAll<T>(passes_, tiles, x, residual, y, rectify_, by);
  }

 private:
  const Passes& passes_;
  const bool rectify_;
  const int64_t residuals_;
};

const bool registered =
    // y = gamma * (x - mean) / sqrt(variance + epsilon) + beta [+ residual] [rectified]. Consumes the memory of x.
    registerFor<Normalise>({"LockstepNormalise",
                            {"T: {float, bfloat16}", "epsilon: float", "rectify: bool", "residuals: int >= 0",
                             "level: int = 2"},
                            {"x: T", "gamma: float", "beta: float", "mean: float", "variance: float",
                             "residual: residuals * T"},
                            {"y: T"}}) &&
    // The bits of LockstepBatchNorm's y once more, from the mean and inverse deviation that it gave.
    registerFor<NormaliseAgain>({"LockstepNormaliseAgain",
                                 {"T: {float, bfloat16}", "rectify: bool", "residuals: int >= 0", "level: int = 2"},
                                 {"x: T", "gamma: float", "beta: float", "mean: float", "inverse_deviation: float",
                                  "residual: residuals * T"},
                                 {"y: T"}});

}  // namespace
}  // namespace lockstep
