import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  float32Of,
  parseSafetensors,
  readSafetensors,
  SafetensorsError,
  writeSafetensors,
  type TensorSource,
} from './safetensors.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lockstep-safetensors-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tensorOf = (name: string, shape: number[], values: Float32Array): TensorSource => ({
  name,
  shape,
  values: () => values,
});

/** A file made by hand from a header and data bytes. */
function fileOf(header: unknown, data: Uint8Array = new Uint8Array()): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

describe('writing and reading', () => {
  it('give back every bit, name, shape and text', () => {
    let runs = 0;
    const tensor = fc.array(fc.nat(3), { maxLength: 3 }).chain((shape) => {
      const size = shape.reduce((product, side) => product * side, 1);
      return fc.record({
        shape: fc.constant(shape),
        bits: fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: size, maxLength: size }),
      });
    });
    const names = fc.uniqueArray(
      fc.string({ minLength: 1 }).filter((name) => name !== '__metadata__' && name !== '__proto__'),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(
        names,
        fc.infiniteStream(tensor),
        fc.dictionary(
          fc.string().filter((key) => key !== '__proto__'),
          fc.string(),
        ),
        (chosen, stream, metadata) => {
          const file = path.join(folder, `round-${runs++}.safetensors`);
          const sources = chosen.map((name) => {
            const { shape, bits } = stream.next().value;
            return tensorOf(name, shape, new Float32Array(Uint32Array.from(bits).buffer));
          });
          const written = writeSafetensors(file, sources, metadata);
          const content = readFileSync(file);
          expect(written).toEqual({
            bytes: content.length,
            sha256: createHash('sha256').update(content).digest('hex'),
          });
          const read = readSafetensors(file);
          expect(read.metadata).toEqual({ ...metadata });
          expect([...read.tensors.keys()].sort()).toEqual([...chosen].sort());
          for (const source of sources) {
            const stored = read.tensors.get(source.name)!;
            expect(stored.shape).toEqual(source.shape);
            expect(Buffer.from(stored.bytes)).toEqual(Buffer.from(source.values().buffer as ArrayBuffer));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('gives the layout that the format publishes', () => {
    const file = path.join(folder, 'layout.safetensors');
    writeSafetensors(file, [tensorOf('a', [2], Float32Array.of(1, -2))], {});
    const content = readFileSync(file);
    const headerBytes = Number(content.readBigUInt64LE(0));
    expect(headerBytes % 8).toBe(0);
    expect(JSON.parse(content.toString('utf8', 8, 8 + headerBytes))).toEqual({
      a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
    });
    expect([content.readFloatLE(8 + headerBytes), content.readFloatLE(12 + headerBytes)]).toEqual([1, -2]);
  });

  it('takes numbers from shared memory and converts one tensor at a time', () => {
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([3, 4]);
    const file = path.join(folder, 'shared.safetensors');
    writeSafetensors(file, [tensorOf('a', [2], shared)], {});
    expect([...float32Of(readSafetensors(file).tensors.get('a')!)]).toEqual([3, 4]);
  });

  it('refuses two tensors of one name, a wrong length and an existing file', () => {
    const one = tensorOf('a', [1], Float32Array.of(1));
    expect(() => writeSafetensors(path.join(folder, 'x'), [one, one], {})).toThrow('both be called a');
    expect(() => writeSafetensors(path.join(folder, 'y'), [tensorOf('a', [2], Float32Array.of(1))], {})).toThrow(
      'a has 1 elements, not 2',
    );
    writeFileSync(path.join(folder, 'z'), '');
    expect(() => writeSafetensors(path.join(folder, 'z'), [one], {})).toThrow('EEXIST');
  });
});

describe('float32Of', () => {
  it('reads F32 that lies unaligned, BF16 and F64, and refuses what it cannot', () => {
    const data = Buffer.alloc(18);
    data.writeFloatLE(1.5, 0);
    data.writeUInt16LE(0x3fc0, 4);
    data.writeDoubleLE(-2.5, 6);
    const header = {
      f: { dtype: 'F32', shape: [], data_offsets: [0, 4] },
      b: { dtype: 'BF16', shape: [1], data_offsets: [4, 6] },
      d: { dtype: 'F64', shape: [1], data_offsets: [6, 14] },
      i: { dtype: 'I32', shape: [1], data_offsets: [14, 18] },
    };
    const { tensors } = parseSafetensors(fileOf(header, data), 'file');
    expect(['f', 'b', 'd'].map((name) => float32Of(tensors.get(name)!)[0])).toEqual([1.5, 1.5, -2.5]);
    expect(() => float32Of(tensors.get('i')!)).toThrow('I32');
  });
});

describe('a damaged file', () => {
  const eight = new Uint8Array(8);
  const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  const cases: [what: string, content: Buffer, message: string][] = [
    ['empty', Buffer.alloc(3), 'too short'],
    ['a header beyond the end', fileOf({ a: entry }, eight).subarray(0, 20), 'its header ends after'],
    [
      'a header too long',
      Buffer.concat([Buffer.from([255, 255, 255, 255, 255, 0, 0, 0]), eight]),
      'more than the format allows',
    ],
    ['no JSON', fileOf('{nonsense'), 'not JSON'],
    ['a list', fileOf('[]'), 'not an object'],
    ['a malformed entry', fileOf({ a: { ...entry, shape: [-2] } }, eight), 'tensor a is malformed'],
    ['an unknown type', fileOf({ a: { ...entry, dtype: 'F12' } }, eight), 'unknown type F12'],
    ['a wrong size', fileOf({ a: { ...entry, shape: [3] } }, eight), 'cannot have 8 bytes'],
    ['a cut end', fileOf({ a: entry }, eight.subarray(0, 5)), 'ends 3 bytes after the end'],
    ['a tail', fileOf({ a: entry }, new Uint8Array(9)), '1 bytes after the last tensor'],
    [
      'an overlap',
      fileOf({ a: entry, b: { ...entry, data_offsets: [4, 12] } }, new Uint8Array(12)),
      'begins at byte 4, not at 8',
    ],
    ['a hole', fileOf({ a: { ...entry, data_offsets: [4, 12] } }, new Uint8Array(12)), 'begins at byte 4, not at 0'],
  ];
  it.each(cases)('%s: is refused by name', (_what, content, message) => {
    expect(() => parseSafetensors(content, 'model.safetensors')).toThrow(SafetensorsError);
    expect(() => parseSafetensors(content, 'model.safetensors')).toThrow(message);
    expect(() => parseSafetensors(content, 'model.safetensors')).toThrow(/^model.safetensors is not a valid/);
  });

  it('never gets past the reader as anything but an error or a valid file, whatever byte is flipped or cut', () => {
    const file = path.join(folder, 'flip.safetensors');
    writeSafetensors(file, [tensorOf('a', [2], Float32Array.of(1, 2))], { x: 'y' });
    const content = readFileSync(file);
    fc.assert(
      fc.property(fc.nat(content.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, cut) => {
        const damaged = Buffer.from(cut ? content.subarray(0, at) : content);
        if (!cut) damaged[at]! ^= flip;
        try {
          parseSafetensors(damaged, 'file');
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('that is not there is named', () => {
    expect(() => readSafetensors(path.join(folder, 'absent'))).toThrow(/absent cannot be read/);
  });
});
