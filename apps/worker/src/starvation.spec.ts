import { describe, expect, it } from 'vitest';
import { StarvationClock } from './starvation.js';

function clock() {
  let now = 0;
  const starvation = new StarvationClock(() => now);
  return { starvation, at: (ms: number) => (now = ms) };
}

describe('StarvationClock', () => {
  it('counts the time that only images were missing', () => {
    const { starvation, at } = clock();
    const preparation = starvation.preparation();
    at(2_000);
    preparation.parameters();
    at(5_000);
    preparation.images();
    preparation.done();
    expect(starvation.seconds).toBe(3);
  });

  it('does not count waiting for a version', () => {
    const { starvation, at } = clock();
    const preparation = starvation.preparation();
    preparation.images();
    at(9_000);
    preparation.parameters();
    preparation.done();
    expect(starvation.seconds).toBe(0);
  });

  it('does not count while something else computes, and only from its end on', () => {
    const { starvation, at } = clock();
    starvation.computing();
    const [first, second] = [starvation.preparation(), starvation.preparation()];
    first.parameters();
    second.parameters();
    at(3_000);
    first.images();
    first.done();
    expect(starvation.seconds).toBe(0);
    at(4_000);
    starvation.idle();
    at(4_500);
    second.images();
    second.done();
    expect(starvation.seconds).toBe(0.5);
  });
});
