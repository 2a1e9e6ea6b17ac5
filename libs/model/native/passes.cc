// Owns: the passes for any processor, and the choice of the best ones that this processor has.
// Refuses to know: what they compute.
#include "passes_body.h"

namespace lockstep {

const Passes& portablePasses() { return PASSES; }

namespace {

int64_t bestLevel() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return 2;
  }
  if (__builtin_cpu_supports("avx2")) return 1;
#endif
  return 0;
}

}  // namespace

const Passes& passesFor(int64_t level) {
  static const int64_t best = bestLevel();
  switch (level < best ? level : best) {
    case 0:
      return portablePasses();
    case 1:
      return avx2Passes();
    default:
      return avx512Passes();
  }
}

}  // namespace lockstep
