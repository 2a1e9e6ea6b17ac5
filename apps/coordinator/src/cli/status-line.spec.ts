import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { StatusLine } from './status-line.js';

class Sink {
  text = '';
  constructor(readonly isTTY: boolean) {}
  readonly columns = 80;
  write(text: string): void {
    this.text += text;
  }
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('StatusLine', () => {
  it('redraws one line on a terminal, keeping notes above it', () => {
    const sink = new Sink(true);
    const line = new StatusLine(sink);
    line.update(() => 'one');
    line.update(() => 'never drawn');
    line.update(() => 'two');
    vi.advanceTimersByTime(100);
    line.note('news');
    line.end();
    expect(sink.text).toBe('\r\u001b[Kone\r\u001b[Ktwo\r\u001b[Knews\ntwo\n');
    expect(line.width).toBe(79);
  });

  it('writes a line every few seconds elsewhere, the newest, and the last one at the end', () => {
    const sink = new Sink(false);
    const line = new StatusLine(sink);
    line.update(() => 'one');
    line.update(() => 'two');
    line.update(() => 'three');
    expect(sink.text).toBe('one\n');
    vi.advanceTimersByTime(5_000);
    expect(sink.text).toBe('one\nthree\n');
    line.update(() => 'four');
    line.note('news');
    line.end();
    expect(sink.text).toBe('one\nthree\nnews\nfour\n');
    expect(line.width).toBeUndefined();
  });
});
