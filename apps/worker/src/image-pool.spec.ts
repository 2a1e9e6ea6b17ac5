import { afterEach, describe, expect, it } from 'vitest';
import { ImagePool, type ImagePoolOptions } from './image-pool.js';

/** A thread that does what `body` says with each image. */
function threadOf(body: string): URL {
  const source = `
    import { parentPort, threadId } from 'node:worker_threads';
    const done = (id, problem) => parentPort.postMessage({ id, seconds: 0.5, ...(problem === undefined ? {} : { problem }) });
    const held = [];
    parentPort.on('message', ({ id, bytes, recipe, out }) => { ${body} });`;
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}

const recipe = { imageSize: 1, mean: [0], std: [1] };
const shared = (length = 3) => new Float32Array(new SharedArrayBuffer(4 * length));
let pool: ImagePool | undefined;

function poolOf(body: string, options: Partial<ImagePoolOptions> = {}): ImagePool {
  pool = new ImagePool({ threads: 2, cacheBytes: 0, jpegKernel: false, script: threadOf(body), ...options });
  return pool;
}

afterEach(async () => {
  await pool?.stop();
  pool = undefined;
});

describe('ImagePool', () => {
  it('has images prepared in shared memory, and counts them', async () => {
    const images = poolOf('out[1] = bytes[0]; done(id);');
    const out = shared();
    await images.prepare(Uint8Array.of(7), recipe, out);
    expect([...out]).toEqual([0, 7, 0]);
    expect(images.counts).toEqual({ images: 1, seconds: 0.5, cacheHits: 0 });
  });

  it('starts threads as they are needed, and no more than it may', async () => {
    const images = poolOf(
      'out[0] = threadId; held.push(id); if (bytes[0] === 1) for (const each of held.splice(0)) done(each);',
    );
    const outs = [0, 1, 2, 3].map(() => shared());
    const hold = outs.slice(0, 2).map((out) => images.prepare(Uint8Array.of(0), recipe, out));
    expect(images.threads).toBe(2);
    const release = outs.slice(2).map((out) => images.prepare(Uint8Array.of(1), recipe, out));
    await Promise.all([...hold, ...release]);
    expect(images.threads).toBe(2);
    expect(new Set(outs.map(([thread]) => thread)).size).toBe(2);
    expect(images.atOnce).toBe(4);
  });

  it('says what is wrong with an image, and goes on', async () => {
    const images = poolOf(`done(id, bytes[0] === 0 ? 'cannot be decoded' : undefined);`, { threads: 1 });
    await expect(images.prepare(Uint8Array.of(0), recipe, shared())).rejects.toThrow('cannot be decoded');
    await images.prepare(Uint8Array.of(1), recipe, shared());
  });

  it('gives up what a thread had in hand when it died, and starts another', async () => {
    const images = poolOf(`if (bytes[0] === 0) throw new Error('out of memory'); done(id);`, { threads: 1 });
    await expect(images.prepare(Uint8Array.of(0), recipe, shared())).rejects.toThrow(
      'was not prepared: an image thread died: out of memory',
    );
    await images.prepare(Uint8Array.of(1), recipe, shared());
    expect(images.threads).toBe(1);
  });

  it('gives up everything when it stops', async () => {
    const images = poolOf('');
    const waiting = images.prepare(Uint8Array.of(0), recipe, shared());
    waiting.catch(() => undefined);
    await images.stop();
    await expect(waiting).rejects.toThrow('was not prepared: an image thread ended');
  });

  it('refuses memory that threads cannot share', async () => {
    await expect(poolOf('').prepare(Uint8Array.of(0), recipe, new Float32Array(3))).rejects.toThrow('shared memory');
  });
});
