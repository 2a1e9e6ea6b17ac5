// Owns: sixteen numbers at once, loaded from and stored to float32 or bfloat16, in the same way on every instruction set.
// Refuses to know: what is computed. Everything is inlined, so that each includer gets it for its own instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#define LOCKSTEP_ALWAYS __attribute__((always_inline))
#define LOCKSTEP_INLINE static inline LOCKSTEP_ALWAYS

namespace lockstep {

/** The bits of a bfloat16: the upper half of a float32. */
struct Bfloat16 {
  uint16_t bits;
};

constexpr int LANES = 16;

// GCC and clang split these into whatever registers there are.
typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef int32_t Truths __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(128)));

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
