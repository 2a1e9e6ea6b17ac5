import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ChildLog } from './child-log.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-log-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('ChildLog', () => {
  it('keeps everything and finds errors, wherever the text is cut', () => {
    const errors: string[] = [];
    const file = join(folder, 'logs', 'a.log');
    const log = new ChildLog(file, { onError: (message) => errors.push(message) });
    const text = '{"level":30,"msg":"fine"}\n{"level":50,"msg":"bad"}\n{not json\n';
    for (const character of text) {
      log.take('stdout', character);
    }
    expect(log.lastError).toBe('bad');
    log.take('stderr', 'Error: worse\n    at somewhere (file.js:1:2)\n');
    expect(log.lastError).toBe('Error: worse');
    log.take('stderr', 'no line’s end');
    log.close();
    expect(log.lastError).toBe('no line’s end');
    expect(errors).toEqual(['bad']);
    expect(readFileSync(file, 'utf8')).toBe(`${text}Error: worse\n    at somewhere (file.js:1:2)\nno line’s end`);
  });

  it('keeps one older file, of an earlier run or of a long one', () => {
    const file = join(folder, 'a.log');
    writeFileSync(file, 'earlier\n');
    const log = new ChildLog(file, { maxBytes: 10 });
    expect(readFileSync(`${file}.1`, 'utf8')).toBe('earlier\n');
    log.take('stdout', '12345678\n');
    log.take('stdout', 'next\n');
    log.close();
    expect(readFileSync(`${file}.1`, 'utf8')).toBe('12345678\n');
    expect(readFileSync(file, 'utf8')).toBe('next\n');
  });

  it('says once that it cannot write, and goes on listening', () => {
    writeFileSync(join(folder, 'file'), '');
    const problems: string[] = [];
    const log = new ChildLog(join(folder, 'file', 'a.log'), { onUnwritable: (error) => problems.push(error.message) });
    log.take('stderr', 'a complaint\n');
    log.close();
    expect(problems).toHaveLength(1);
    expect(log.lastError).toBe('a complaint');
    expect(existsSync(join(folder, 'file', 'a.log'))).toBe(false);
  });
});
