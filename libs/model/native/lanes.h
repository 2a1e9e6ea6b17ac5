// Owns: as many numbers at once as a register of LOCKSTEP_LANES holds, loaded from and stored to float32 or bfloat16. Lanes are
// channels and never meet, so their number does not change bits. Refuses to know: what is computed. Everything is inlined, so
// that each includer gets it for its own instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "storage.h"

#ifndef LOCKSTEP_LANES
#define LOCKSTEP_LANES 4
#endif

#define LOCKSTEP_ALWAYS __attribute__((always_inline))
#define LOCKSTEP_INLINE static inline LOCKSTEP_ALWAYS

namespace lockstep {

constexpr int LANES = LOCKSTEP_LANES;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int32_t Truths __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));
typedef double Doubles __attribute__((vector_size(8 * LANES)));

LOCKSTEP_INLINE Floats load(const float* from) {
  Floats values;
  memcpy(&values, from, sizeof values);
  return values;
}

LOCKSTEP_INLINE void store(float* to, Floats values) { memcpy(to, &values, sizeof values); }

LOCKSTEP_INLINE Floats load(const Bfloat16* from) {
  Halves halves;
  memcpy(&halves, from, sizeof halves);
  return (Floats)(__builtin_convertvector(halves, Words) << 16);
}

/** Rounds to nearest even; a NaN stays one. */
LOCKSTEP_INLINE void store(Bfloat16* to, Floats values) {
  const Words bits = (Words)values;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words quiet = (bits >> 16) | 0x40;
  const Halves halves = __builtin_convertvector(values != values ? quiet : rounded, Halves);
  memcpy(to, &halves, sizeof halves);
}

/** The first `count` lanes; the others are zero. */
template <typename T>
LOCKSTEP_INLINE Floats loadPart(const T* from, int64_t count) {
  T whole[LANES] = {};
  memcpy(whole, from, count * sizeof(T));
  return load(whole);
}

template <typename T>
LOCKSTEP_INLINE void storePart(T* to, Floats values, int64_t count) {
  T whole[LANES];
  store(whole, values);
  memcpy(to, whole, count * sizeof(T));
}

/** Memory of T read and written by whole vectors (`Whole`), or by the first `count` lanes of one. */
template <typename T, bool Whole>
LOCKSTEP_INLINE Floats get(const T* from, int64_t count) {
  if constexpr (Whole) return load(from);
  return loadPart(from, count);
}

template <typename T, bool Whole>
LOCKSTEP_INLINE void put(T* to, Floats values, int64_t count) {
  if constexpr (Whole) store(to, values);
  else storePart(to, values, count);
}

LOCKSTEP_INLINE Floats keepWhere(Truths truths, Floats values) { return (Floats)((Words)values & (Words)truths); }

/** What the rectifier lets through: all above zero, and NaN, so that a number gone wrong does not hide. */
LOCKSTEP_INLINE Truths passes(Floats values) { return ~(values <= 0); }

}  // namespace lockstep
