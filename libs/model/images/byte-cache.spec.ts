import { describe, expect, it } from 'vitest';
import { ByteCache } from './byte-cache.js';

describe('ByteCache', () => {
  it('keeps what was used last within its bound', () => {
    const cache = new ByteCache(10);
    cache.put('a', new Uint8Array(4));
    cache.put('b', new Uint8Array(4));
    expect(cache.get('a')).toHaveLength(4);
    cache.put('c', new Uint8Array(4));
    expect([cache.get('a')?.length, cache.get('b'), cache.get('c')?.length, cache.bytes, cache.hits]).toEqual([
      4,
      undefined,
      4,
      8,
      3,
    ]);
  });

  it('counts a file once, and keeps none that is larger than itself', () => {
    const cache = new ByteCache(10);
    cache.put('a', new Uint8Array(4));
    cache.put('a', new Uint8Array(6));
    cache.put('b', new Uint8Array(11));
    expect([cache.get('a')?.length, cache.get('b'), cache.bytes]).toEqual([6, undefined, 6]);
    const none = new ByteCache(0);
    none.put('a', new Uint8Array(1));
    expect(none.get('a')).toBeUndefined();
  });
});
