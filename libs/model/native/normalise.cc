// Owns: the ops LockstepNormalise and LockstepNormaliseAgain: batch norm by statistics that are there already, with the addition and
// the rectifier behind it. Refuses to know: how statistics are taken (batch_norm.cc), and layers.
#include <cmath>

#include "tiles.h"

namespace lockstep {
namespace {

/** What both ops are given: x, gamma, beta, mean, a measure of the spread, and the residual where there is one. */
class Given {
 public:
  Given(Call& call, int64_t residuals)
      : x(call.input(0)),
        tiles(shapeOf(x)),
        residual(residualOf(call, 5, residuals, x)),
        vectors_{call.input(1), call.input(2), call.input(3), call.input(4)},
        numbers_(new float[3 * tiles.padded]()) {
    for (const TensorPtr& vector : vectors_) vectorOf(vector, tiles.channels);
  }

  /** Vectors padded with zeros. @param scaleOf of a channel's gamma and spread; the result lives as long as this */
  template <typename ScaleOf>
  Normalisation scaledBy(ScaleOf scaleOf) const {
    const float* gamma = dataOf<float>(vectors_[0]);
    const float* spread = dataOf<float>(vectors_[3]);
    float* mean = numbers_.get();
    float* scale = mean + tiles.padded;
    float* beta = scale + tiles.padded;
    for (int64_t channel = 0; channel < tiles.channels; channel++) {
      mean[channel] = dataOf<float>(vectors_[2])[channel];
      scale[channel] = scaleOf(gamma[channel], spread[channel]);
      beta[channel] = dataOf<float>(vectors_[1])[channel];
    }
    return {mean, scale, beta};
  }

  const TensorPtr x;
  const Tiles tiles;
  const TensorPtr residual;

 private:
  const TensorPtr vectors_[4];
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
    const Given given(call, residuals_);
    call.handOn(0, given.x);
    const Normalisation by = given.scaledBy(
        [&](float gamma, float variance) { return static_cast<float>(gamma / std::sqrt(variance + epsilon_)); });
    normaliseAll<T>(passes_, given.tiles, given.x, given.residual, given.x, rectify_, by);
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
    const Given given(call, residuals_);
    const TensorPtr y = call.output<T>(0, shapeOf(given.x));
    const Normalisation by = given.scaledBy([](float gamma, float inverse) { return gamma * inverse; });
    normaliseAll<T>(passes_, given.tiles, given.x, given.residual, y, rectify_, by);
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
