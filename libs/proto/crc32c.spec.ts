import { expect, it } from 'vitest';
import { crc32c } from './crc32c.js';

const digits = new TextEncoder().encode('123456789');

/** Bit by bit, as RFC 3720 defines it: the polynomial 0x1EDC6F41, reflected. */
function byDefinition(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

it("gives the check value of CRC32C's definition", () => {
  expect(crc32c(digits)).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

it.each([1, 7, 64, 255, 1023, 4096, 70_001])('agrees with the definition on a view of %d bytes', (length) => {
  const memory = new Uint8Array(length + 11).map((_, index) => (index * 37) ^ (index >> 8));
  const view = memory.subarray(5, 5 + length);
  expect(crc32c(view)).toBe(byDefinition(view));
});

it('goes on from the checksum of the bytes before, and reads shared memory', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(digits.length));
  shared.set(digits);
  expect(crc32c(shared.subarray(4), crc32c(shared.subarray(0, 4)))).toBe(0xe3069283);
});

it('reads views of floats by their bytes', () => {
  const floats = Float32Array.from({ length: 100 }, (_, index) => Math.sin(index));
  const bytes = new Uint8Array(floats.buffer, 40, 200);
  expect(crc32c(bytes)).toBe(byDefinition(bytes.slice()));
});
