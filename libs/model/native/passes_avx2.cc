// Owns: the passes compiled for AVX2. Refuses to know: whether this processor has it (passes.cc asks).
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define LOCKSTEP_LANES 8
#include "passes_body.h"

const lockstep::Passes& lockstep::avx2Passes() { return PASSES; }

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
#include "passes.h"

const lockstep::Passes& lockstep::avx2Passes() { return portablePasses(); }
#endif
