// Owns: the ops LockstepMaxPool and LockstepMaxPoolGrad: 3x3, stride 2, one pixel of padding that never wins; each winner's place
// in its window is kept in a byte. Of equal values the first one, row by row, wins (as in TensorFlow and torch); a NaN beats
// every number. Refuses to know: other windows.
#include "op.h"
#include "passes.h"
#include "thread_pool.h"

namespace lockstep {
namespace {

PoolPlane planeOf(const std::vector<int64_t>& shape) {
  require(shape.size() == 4, "the pool wants an image tensor of four axes");
  return {shape[1], shape[2], shape[3], (shape[1] + 1) / 2, (shape[2] + 1) / 2};
}

template <typename T>
class MaxPool {
 public:
  explicit MaxPool(Attributes attributes) : passes_(passesFor(attributes.integer("level"))) {}

  void run(Call call) const {
    const TensorPtr x = call.input(0);
    const PoolPlane plane = planeOf(shapeOf(x));
    const int64_t images = TF_Dim(x.get(), 0);
    const std::vector<int64_t> shape = {images, plane.outputHeight, plane.outputWidth, plane.channels};
    const TensorPtr y = call.output<T>(0, shape);
    const TensorPtr places = call.output<uint8_t>(1, shape);
    const int64_t line = plane.outputWidth * plane.channels;
    parallel(images * plane.outputHeight, [&](int64_t task) {
      const T* image = dataOf<T>(x) + task / plane.outputHeight * plane.height * plane.width * plane.channels;
      passesOf<T>(passes_).poolRow(image, plane, task % plane.outputHeight, dataOf<T>(y) + task * line,
                                   dataOf<uint8_t>(places) + task * line);
    });
  }

 private:
  const Passes& passes_;
};

template <typename T>
class MaxPoolGrad {
 public:
  explicit MaxPoolGrad(Attributes attributes)
      : passes_(passesFor(attributes.integer("level"))),
        height_(attributes.integer("height")),
        width_(attributes.integer("width")),
        addends_(attributes.integer("addends")) {}

  void run(Call call) const {
    const TensorPtr gradient = call.input(0);
    const TensorPtr places = call.input(1);
    const TensorPtr addend = addends_ > 0 ? call.input(2) : nullptr;
    const std::vector<int64_t> shape = shapeOf(gradient);
    require(shape.size() == 4, "the pool wants an image tensor of four axes");
    const PoolPlane plane = planeOf({shape[0], height_, width_, shape[3]});
    require(shape == std::vector<int64_t>({shape[0], plane.outputHeight, plane.outputWidth, plane.channels}) &&
                shapeOf(places) == shape && (addend == nullptr || shapeOf(addend) == shape),
            "the gradient has another shape than the pool's output");
    const TensorPtr output = call.output<T>(0, {shape[0], height_, width_, plane.channels});
    const int64_t size = plane.outputHeight * plane.outputWidth * plane.channels;
    parallel(shape[0] * height_, [&](int64_t task) {
      const int64_t at = task / height_ * size;
      const T* added = addend == nullptr ? nullptr : dataOf<T>(addend) + at;
      passesOf<T>(passes_).poolGradientRow(dataOf<T>(gradient) + at, added, dataOf<uint8_t>(places) + at, plane,
                                           task % height_, dataOf<T>(output) + task * width_ * plane.channels);
    });
  }

 private:
  const Passes& passes_;
  const int64_t height_;
  const int64_t width_;
  const int64_t addends_;
};

const bool registered =
    registerFor<MaxPool>(
        {"LockstepMaxPool", {"T: {float, bfloat16}", "level: int = 2"}, {"x: T"}, {"y: T", "places: uint8"}}) &&
    registerFor<MaxPoolGrad>({"LockstepMaxPoolGrad",
                              {"T: {float, bfloat16}", "height: int", "width: int", "addends: int >= 0",
                               "level: int = 2"},
                              {"gradient: T", "places: uint8", "addend: addends * T"},
                              {"input_gradient: T"}});

}  // namespace
}  // namespace lockstep
