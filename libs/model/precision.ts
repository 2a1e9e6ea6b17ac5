// Owns: what bfloat16 costs or saves on a processor, by its instruction sets: figures measured, and the sentence for people.
// Refuses to know: how instruction sets are found out.

/**
 * How a CPU computes in bfloat16: with matrix tiles (AMX), with dot products (AVX-512 BF16), by widening to float32
 * (AVX-512 without either), or not at all, as TensorFlow's convolution gradients in bfloat16 need AVX-512.
 */
export type Bfloat16Support = 'tiles' | 'dot-products' | 'emulated' | 'none';

/** @param instructionSets as Linux names them: `avx512_bf16`, `amx_bf16`, … */
export function bfloat16Support(instructionSets: Iterable<string>): Bfloat16Support {
  const known = new Set(instructionSets);
  if (known.has('amx_bf16')) return 'tiles';
  if (known.has('avx512_bf16')) return 'dot-products';
  return known.has('avx512f') ? 'emulated' : 'none';
}

/** Measured with one thread, see docs/numerics.md: one processor with instruction sets masked, dot products on another too. */
const WHAT_IT_MEANS: Readonly<Record<Bfloat16Support, string>> = {
  tiles: 'bfloat16 in hardware (AMX): about twice as fast as float32',
  'dot-products': 'bfloat16 in hardware (AVX-512): 0.8 to 1.7 times as fast as float32, by network and processor',
  emulated: 'no bfloat16 in hardware: it takes 2.6 to 2.8 times as long as float32; use float32',
  none: 'no AVX-512: bfloat16 cannot be trained here; use float32',
};

/** For doctor and for lists of workers. */
export function describeBfloat16(instructionSets: Iterable<string>): string {
  return WHAT_IT_MEANS[bfloat16Support(instructionSets)];
}

/** What a job of this precision must know about the workers that it is pinned to; null where there is nothing to say. */
export function precisionNote(precision: 'float32' | 'bfloat16', instructionSets: Iterable<string>): string | null {
  if (precision === 'float32') return null;
  const support = bfloat16Support(instructionSets);
  if (support === 'tiles' || support === 'dot-products') return null;
  return `Its workers have ${WHAT_IT_MEANS[support]} (training.precision).`;
}
