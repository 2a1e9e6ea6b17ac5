// Owns: how numbers lie in memory. Refuses to know: how they are computed with (lanes.h).
#pragma once

#include <cstdint>

namespace lockstep {

/** The bits of a bfloat16: the upper half of a float32. */
struct Bfloat16 {
  uint16_t bits;
};

/** Arrays with a float per channel are padded to multiples of this: no instruction set has longer vectors. */
constexpr int64_t PADDING = 16;

}  // namespace lockstep
