import { expect, it } from 'vitest';
import { bfloat16Support, describeBfloat16, precisionNote } from './precision.js';

it.each([
  [['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'], 'tiles', null],
  [['avx2', 'avx512f', 'avx512_bf16'], 'dot-products', null],
  [['avx2', 'avx512f'], 'emulated', /2\.6 to 2\.8 times as long/],
  [['avx2'], 'none', /cannot be trained/],
] as const)('%j: %s', (sets, support, note) => {
  expect(bfloat16Support(sets)).toBe(support);
  expect(describeBfloat16(sets)).toMatch(/bfloat16/);
  const said = precisionNote('bfloat16', sets);
  if (note === null) expect(said).toBeNull();
  else expect(said).toMatch(note);
  expect(precisionNote('float32', sets)).toBeNull();
});
