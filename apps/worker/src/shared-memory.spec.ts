import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SharedMemory } from './shared-memory.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-shared-memory-'));
  writeFileSync(join(folder, 'word'), 'word');
});
afterEach(() => rmSync(folder, { recursive: true }));

const find = (onDistrusted?: () => void) =>
  SharedMemory.find({ sharedMemory: { folder, word: 'word' }, workerId: 'w-1' }, onDistrusted);
const segments = () => readdirSync(folder).filter((name) => name !== 'word');

describe('SharedMemory', () => {
  it('is not found by another user, who may read it where it is root', () => {
    expect(find()).toBeDefined();
    const other = vi.spyOn(process as { geteuid: () => number }, 'geteuid').mockReturnValue(54_321);
    expect(find()).toBeUndefined();
    other.mockRestore();
  });

  it('has no more than three segments out at once, and uses them again', () => {
    const memory = find()!;
    const [first, second, third] = [memory.take(), memory.take(), memory.take()];
    expect(memory.take()).toBeUndefined();
    expect(segments()).toHaveLength(3);
    memory.give(first!);
    expect(memory.take()).toBe(first);
    expect(memory.take()).toBeUndefined();
    memory.discard(second!, false);
    const fourth = memory.take();
    expect(fourth?.name).not.toBe(second!.name);
    for (const segment of [first, third, fourth]) memory.give(segment!);
    memory.trim();
    expect(segments()).toEqual([]);
    expect([memory.take(), memory.take(), memory.take()].every((segment) => segment !== undefined)).toBe(true);
    expect(memory.take()).toBeUndefined();
  });

  it('is not used again after three pushes in a row that arrived broken', () => {
    const distrusted = vi.fn();
    const memory = find(distrusted)!;
    const push = (broken: boolean) => memory.discard(memory.take()!, broken);
    push(true);
    push(true);
    memory.give(memory.take()!);
    push(true);
    push(false);
    push(true);
    expect(memory.take()).toBeDefined();
    expect(memory.trusted).toBe(true);
    push(true);
    expect(memory.take()).toBeUndefined();
    expect(memory.trusted).toBe(false);
    expect(distrusted).toHaveBeenCalledTimes(1);
  });
});
