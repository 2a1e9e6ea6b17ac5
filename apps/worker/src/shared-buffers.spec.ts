import { describe, expect, it } from 'vitest';
import { SharedBuffers } from './shared-buffers.js';

const never = new AbortController().signal;

describe('SharedBuffers', () => {
  it('lends up to its limit and then makes the next one wait', async () => {
    const buffers = new SharedBuffers(2);
    const first = await buffers.acquire(64, never);
    await buffers.acquire(64, never);
    let third: SharedArrayBuffer | undefined;
    const waiting = buffers.acquire(64, never).then(({ buffer }) => (third = buffer));
    await new Promise((resolve) => setImmediate(resolve));
    expect(third).toBeUndefined();
    first.release();
    first.release();
    await waiting;
    expect(third).toBe(first.buffer);
    expect(buffers.lent).toBe(2);
  });

  it('gives a buffer of the size that is asked for', async () => {
    const buffers = new SharedBuffers(1);
    (await buffers.acquire(64, never)).release();
    const loan = await buffers.acquire(128, never);
    expect(loan.buffer.byteLength).toBe(128);
  });

  it('lends a buffer again that is somewhat larger, and none that is much larger', async () => {
    const buffers = new SharedBuffers(1, (bytes) => new SharedArrayBuffer(bytes + 100));
    const first = await buffers.acquire(130_000, never);
    expect(first.buffer.byteLength).toBe(130_100);
    first.release();
    const second = await buffers.acquire(100_000, never);
    expect(second.buffer).toBe(first.buffer);
    second.release();
    expect((await buffers.acquire(1000, never)).buffer.byteLength).toBe(1100);
  });

  it('forgets a waiter that gave up', async () => {
    const buffers = new SharedBuffers(1);
    const loan = await buffers.acquire(8, never);
    const abort = new AbortController();
    const waiting = buffers.acquire(8, abort.signal);
    abort.abort(new Error('no longer'));
    await expect(waiting).rejects.toThrow('no longer');
    loan.release();
    expect(buffers.lent).toBe(0);
    await expect(buffers.acquire(8, abort.signal)).rejects.toThrow('no longer');
  });
});
