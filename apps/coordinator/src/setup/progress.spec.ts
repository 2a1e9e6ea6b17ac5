import { describe, expect, it } from 'vitest';
import { formatBytes, streamReporter } from './progress.js';

function record(isTTY: boolean): {
  sink: { write(text: string): void; isTTY: boolean; columns: number };
  text: () => string;
} {
  let text = '';
  return { sink: { write: (piece) => void (text += piece), isTTY, columns: 60 }, text: () => text };
}

describe('streamReporter', () => {
  it('redraws one line on a terminal and ends it with the last figures', () => {
    const { sink, text } = record(true);
    let time = 0;
    const report = streamReporter(sink, () => time);
    for (let done = 0; done <= 200e6; done += 50e6) {
      report.progress('Fetching x', done, 200e6);
      time += 1000;
    }
    report.finish();
    expect(text().split('\n')).toHaveLength(2);
    expect(text()).toContain('\r\x1b[KFetching x: 50.0 MB of 200.0 MB (25 %, 50.0 MB/s)');
    expect(text()).toMatch(/200\.0 MB of 200\.0 MB \(100 %.*\n$/);
    for (const line of text().split('\r\x1b[K')) expect(line.length).toBeLessThanOrEqual(60);
  });

  it('writes few plain lines where there is no terminal', () => {
    const { sink, text } = record(false);
    let time = 0;
    const report = streamReporter(sink, () => time);
    for (let i = 0; i <= 100; i += 1) {
      report.progress('Fetching x', i * 1e6, 100e6);
      time += 100;
    }
    report.say('Done.');
    const lines = text().trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(5);
    expect(lines[0]).toBe('Fetching x (100.0 MB)');
    expect(lines.at(-1)).toBe('Done.');
    expect(text()).not.toMatch(/\r|\x1b/);
  });

  it('never goes back nor beyond the total', () => {
    const { sink, text } = record(false);
    let time = 0;
    const report = streamReporter(sink, () => time);
    for (const done of [0, 80e6, 20e6, 900e6]) {
      report.progress('x', done, 100e6);
      time += 6000;
    }
    expect([...text().matchAll(/\((\d+) %/g)].map(([, share]) => Number(share))).toEqual([80, 80, 100]);
  });
});

describe('formatBytes', () => {
  it('uses powers of ten', () => {
    expect(formatBytes(1)).toBe('1 kB');
    expect(formatBytes(1_609_511)).toBe('1.6 MB');
    expect(formatBytes(8.1e9)).toBe('8.10 GB');
  });
});
