import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { blockMessage, blockTable, throughSegment } from './blocks.js';
import { BlockCollector } from './block-collector.js';
import { Segment } from './segment.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-segments-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Like a segment on memory that is used up. */
const full = {
  write: () => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  },
} as unknown as Segment;

describe('a segment', () => {
  it('gives back what was written, at any place, to a process that opens it by name', () => {
    const written = Segment.create(folder, 'w-1.push');
    const bytes = Uint8Array.from({ length: 3000 }, (_, index) => index % 251);
    written.write(bytes.subarray(1000), 1000);
    written.write(bytes.subarray(0, 1000), 0);
    const read = Segment.open(folder, 'w-1.push');
    const shared = new Uint8Array(new SharedArrayBuffer(3000));
    read.read(shared, 0);
    expect(Buffer.from(shared).equals(bytes)).toBe(true);
    expect(() => read.read(shared, 1)).toThrow(/ends before byte 3001/);
    expect(statSync(join(folder, 'w-1.push')).mode & 0o777).toBe(0o600);
    written.close();
    read.close();
  });

  it('is made only once and never through a link', () => {
    Segment.create(folder, 'w-2.push').close();
    expect(() => Segment.create(folder, 'w-2.push')).toThrow(/EEXIST/);
    writeFileSync(join(folder, 'secret'), 'x');
    symlinkSync(join(folder, 'secret'), join(folder, 'w-3.push'));
    expect(() => Segment.open(folder, 'w-3.push')).toThrow(/ELOOP/);
  });

  it('is not waited for where a pipe has its name', () => {
    execFileSync('mkfifo', [join(folder, 'w-5.push')]);
    const pipe = Segment.open(folder, 'w-5.push');
    expect(() => pipe.read(new Uint8Array(1), 0)).toThrow(/ESPIPE/);
    pipe.close();
  });

  it('touches no other file once it is closed', () => {
    const segment = Segment.create(folder, 'w-6.push');
    segment.close();
    // The next file to be opened has the number of the one that was closed.
    const other = Segment.create(folder, 'w-7.push');
    expect(() => segment.write(new Uint8Array(1), 0)).toThrow(/out of range/);
    expect(() => segment.read(new Uint8Array(1), 0)).toThrow(/out of range/);
    expect(() => segment.close()).toThrow(/out of range/);
    expect(statSync(join(folder, 'w-7.push')).size).toBe(0);
    other.close();
  });

  it.each(['../w-1.push', 'secret', '/etc/passwd', 'w-1.push/..', '.push', ''])('has no name like "%s"', (name) => {
    expect(() => Segment.open(folder, name)).toThrow(/no segment can have/);
  });
});

describe('a block through a segment', () => {
  const numbers = Float32Array.from({ length: 300_000 }, (_, index) => index);
  const table = blockTable(numbers.length, 0);
  const [, last] = table;
  const block = blockMessage(numbers, last!);

  it('leaves its bytes there and is found by whoever expects it', () => {
    const segment = Segment.create(folder, 'w-4.push');
    const passed = throughSegment(block, last!.first, 4, segment);
    expect(passed).toEqual({ index: 1, data: new Uint8Array(0), checksum: block.checksum, inSegment: true });
    const collector = new BlockCollector(table, 4);
    const { range, place } = collector.inSegment(passed)!;
    const data = new Uint8Array(range.count * 4);
    segment.read(data, place);
    expect(collector.accept({ ...passed, data })).toEqual({ ok: true, range: last });
    segment.close();
  });

  it('travels with its message where the segment takes no more, or there is none', () => {
    expect(throughSegment(block, last!.first, 4, full)).toBe(block);
    expect(throughSegment(block, last!.first, 4, undefined)).toBe(block);
  });

  it('is expected in a segment only as parameters', () => {
    const collector = new BlockCollector(blockTable(10, 10), 4);
    expect(collector.inSegment({ ...block, index: 0, inSegment: true })).toEqual({
      range: expect.anything(),
      place: 0,
    });
    expect(collector.inSegment({ ...block, index: 1, inSegment: true })).toBeUndefined();
    expect(collector.inSegment({ ...block, index: 0 })).toBeUndefined();
    expect(collector.inSegment({ ...block, index: 9, inSegment: true })).toBeUndefined();
  });
});
