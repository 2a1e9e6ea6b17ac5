// Owns: the passes compiled for AVX-512. Refuses to know: whether this processor has it (passes.cc asks).
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#endif
#define LOCKSTEP_LANES 16
#include "passes_body.h"

const lockstep::Passes& lockstep::avx512Passes() { return PASSES; }

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
#include "passes.h"

const lockstep::Passes& lockstep::avx512Passes() { return portablePasses(); }
#endif
