import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockCollector } from './block-collector.js';
import {
  bfloat16BitsOf,
  blockByteLength,
  blockElements,
  blockMessage,
  blocksOfSlice,
  blockTable,
  bytesOf,
  copyBlock,
  copyBytes,
  float32Of,
  sliceOfBlock,
  versionChecksum,
} from './blocks.js';
import { crc32c } from './crc32c.js';

const counts = fc.integer({ min: 0, max: 5 * blockElements });

describe('blockTable', () => {
  it('covers every element of both regions once, in order, in blocks of at most 1 MiB of float32', () => {
    fc.assert(
      fc.property(counts, counts, (parameters, statistics) => {
        const table = blockTable(parameters, statistics);
        expect(table.map(({ index }) => index)).toEqual(table.map((_, index) => index));
        for (const [region, elements] of [
          ['parameters', parameters],
          ['statistics', statistics],
        ] as const) {
          let next = 0;
          for (const range of table.filter((each) => each.region === region)) {
            expect(range.first).toBe(next);
            expect(range.count).toBeGreaterThan(0);
            expect(range.count).toBeLessThanOrEqual(blockElements);
            next += range.count;
          }
          expect(next).toBe(elements);
        }
        const regions = table.map(({ region }) => region);
        expect(regions).toEqual(regions.toSorted());
      }),
    );
  });

  it('deals blocks to slices so that each has one owner and loads differ by one block at most', () => {
    fc.assert(
      fc.property(counts, counts, fc.integer({ min: 1, max: 8 }), (parameters, statistics, slices) => {
        const table = blockTable(parameters, statistics);
        const owned = Array.from({ length: slices }, (_, slice) => blocksOfSlice(table, slice, slices));
        expect(owned.flat().toSorted((a, b) => a.index - b.index)).toEqual(table);
        const loads = owned.map((ranges) => ranges.length);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
        owned.forEach((ranges, slice) => ranges.forEach((r) => expect(sliceOfBlock(r.index, slices)).toBe(slice)));
      }),
    );
  });

  it('refuses counts and slices that cannot be', () => {
    expect(() => blockTable(-1, 0)).toThrow(/number of parameters must be a whole number/);
    expect(() => blockTable(1, 0.5)).toThrow(/number of statistics/);
    expect(() => blocksOfSlice([], 2, 2)).toThrow(/no slice 2 among 2/);
    expect(() => blocksOfSlice([], 0, 0)).toThrow(RangeError);
  });
});

describe('bytes of blocks', () => {
  it('are views of the vector', () => {
    const vector = new Float32Array(new SharedArrayBuffer(40)).fill(1);
    const bytes = bytesOf(vector, { first: 2, count: 3 });
    expect([bytes.byteOffset, bytes.byteLength]).toEqual([8, 12]);
    vector[2] = 0;
    expect([...bytes.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    expect(() => bytesOf(vector, { first: 8, count: 3 })).toThrow(/not all inside a vector of 10/);
  });

  it('come back the same from any address', () => {
    const numbers = fc.float32Array({ minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(numbers, fc.integer({ min: 0, max: 7 }), (values, shift) => {
        const received = Buffer.alloc(values.byteLength + shift).subarray(shift);
        received.set(bytesOf(values, { first: 0, count: values.length }));
        const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
        const read = float32Of(received);
        expect(new Uint32Array(read.buffer, read.byteOffset, read.length)).toEqual(bits);
        const copied = new Float32Array(values.length + 2);
        copyBlock(received, copied, { first: 1, count: values.length });
        expect(new Uint32Array(copied.buffer, 4, values.length)).toEqual(bits);
        expect(bfloat16BitsOf(received)).toEqual(new Uint16Array(values.slice().buffer));
      }),
    );
  });

  it('come back the same to and from shared memory, whatever the addresses', () => {
    const places = fc.record({ shared: fc.boolean(), shift: fc.integer({ min: 0, max: 9 }) });
    fc.assert(
      fc.property(places, places, fc.integer({ min: 0, max: 40_000 }), (from, to, length) => {
        const [source, target] = [from, to].map(({ shared, shift }) =>
          new Uint8Array(shared ? new SharedArrayBuffer(length + 9) : new ArrayBuffer(length + 9)).subarray(shift),
        ) as [Uint8Array, Uint8Array];
        for (let index = 0; index < length; index++) source[index] = (index * 31) & 0xff;
        copyBytes(source.subarray(0, length), target.subarray(0, length));
        expect(Buffer.compare(source.slice(0, length), target.slice(0, length))).toBe(0);
        expect(target.slice(length).every((byte) => byte === 0)).toBe(true);
      }),
    );
  });

  it('are not copied when they lie at an address that fits', () => {
    const buffer = new ArrayBuffer(64);
    expect(float32Of(new Uint8Array(buffer, 8, 16)).buffer).toBe(buffer);
    expect(float32Of(new Uint8Array(buffer, 9, 16)).buffer).not.toBe(buffer);
  });

  it('of another length are refused', () => {
    expect(() => copyBlock(new Uint8Array(3), new Float32Array(1), { first: 0, count: 1 })).toThrow(/4 bytes.*3 came/);
    expect(() => float32Of(new Uint8Array(6))).toThrow(/6 bytes/);
  });
});

describe('checksums', () => {
  it('are CRC32C', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(0))).toBe(0);
  });

  it('of pieces, one after the other, are that of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(crc32c(b, crc32c(a))).toBe(crc32c(Buffer.concat([a, b])));
      }),
    );
  });

  it('of a version are over the block checksums as little-endian numbers', () => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(0xfffefdfc, 0);
    bytes.writeUInt32LE(7, 4);
    expect(versionChecksum([0xfffefdfc, 7])).toBe(crc32c(bytes));
    expect(versionChecksum([7, 0xfffefdfc])).not.toBe(crc32c(bytes));
  });
});

describe('BlockCollector', () => {
  const table = blockTable(blockElements + 10, 3);
  const gradient = new Uint16Array(blockElements + 10).map((_, index) => index);
  const statistics = Float32Array.of(1, 2, 3);
  const messages = table.map((range) => blockMessage(range.region === 'parameters' ? gradient : statistics, range));

  it('accepts each expected block once, in any order', () => {
    const collector = new BlockCollector(table, 2);
    for (const message of messages.toReversed()) expect(collector.accept(message).ok).toBe(true);
    expect(collector.missing).toBe(0);
    expect(new Set(collector.checksums.keys())).toEqual(new Set([0, 1, 2]));
    expect(collector.accept(messages[0]!)).toMatchObject({ ok: false, fault: 'double' });
  });

  it('finds any flipped bit, and counts such a block as missing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 20 * 8 - 1 }), (bit) => {
        const collector = new BlockCollector(table, 2);
        const data = Uint8Array.from(messages[1]!.data);
        data[bit >> 3]! ^= 1 << (bit & 7);
        expect(collector.accept({ ...messages[1]!, data })).toMatchObject({ ok: false, fault: 'checksum' });
        expect(collector.missing).toBe(3);
        expect(collector.accept(messages[1]!).ok).toBe(true);
      }),
    );
  });

  it('refuses blocks of other streams and of other sizes', () => {
    const collector = new BlockCollector(blocksOfSlice(table, 0, 2), 2);
    expect(collector.accept(messages[1]!)).toMatchObject({
      fault: 'unknown',
      detail: expect.stringContaining('Block 1'),
    });
    const short = { ...messages[0]!, data: messages[0]!.data.subarray(2) };
    expect(collector.accept(short)).toMatchObject({ fault: 'size' });
    expect(blockByteLength(table[2]!, 2)).toBe(12);
  });
});
