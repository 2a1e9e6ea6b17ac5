// Owns: which samples a step consumes, a pure function of (seed, epoch, step): a keyed permutation that is computed, never stored.
// Refuses to know: images, labels, workers. Any position of any epoch costs the same, so resuming needs no replay.
import { randomStream } from './random.js';

/** One mini-batch as a run of positions in its epoch's order. */
export interface MiniBatch {
  readonly epoch: number;
  /** First position in the epoch's order. */
  readonly first: number;
  /** Samples: batchSize, or fewer in an epoch's last mini-batch. */
  readonly count: number;
}

/** Steps of one epoch over `count` samples; the last may be short. */
export function stepsPerEpoch(count: number, batchSize: number): number {
  checkSizes(count, batchSize);
  return Math.ceil(count / batchSize);
}

/** The epoch that a step (counted from 0 over the whole training) belongs to. */
export function epochOf(count: number, batchSize: number, step: number): number {
  return Math.floor(step / stepsPerEpoch(count, batchSize));
}

/** The positions that step `step` consumes: every position of every epoch exactly once, in order. */
export function miniBatchPositions(count: number, batchSize: number, step: number): MiniBatch {
  if (!Number.isSafeInteger(step) || step < 0) throw new RangeError(`a step is an integer from 0 on, not ${step}`);
  const perEpoch = stepsPerEpoch(count, batchSize);
  const epoch = Math.floor(step / perEpoch);
  const first = (step - epoch * perEpoch) * batchSize;
  return { epoch, first, count: Math.min(batchSize, count - first) };
}

/** The sample id at one position of an epoch's order. For many positions of one epoch use `sampleIds`. */
export function sampleIdAt(seed: number, epoch: number, count: number, position: number): number {
  return epochOrder(seed, epoch, count)(position);
}

/** The sample ids at positions [first, first + length) of an epoch's order. */
export function sampleIds(seed: number, epoch: number, count: number, first: number, length: number): Uint32Array {
  const order = epochOrder(seed, epoch, count);
  const ids = new Uint32Array(length);
  for (let index = 0; index < length; index++) ids[index] = order(first + index);
  return ids;
}

const ROUNDS = 8;

/**
 * The order of one epoch: a bijection of [0, count) onto itself, keyed by (seed, epoch).
 *
 * A Feistel network over a grid of a x b cells, the tightest about count (Black, Rogaway: Ciphers with arbitrary finite
 * domains, CT-RSA 2002); positions that land on one of the few cells beyond count are sent round again (cycle walking).
 *
 * @throws RangeError for a position outside [0, count)
 */
export function epochOrder(seed: number, epoch: number, count: number): (position: number) => number {
  checkSizes(count, 1);
  const a = Math.ceil(Math.sqrt(count));
  const b = Math.ceil(count / a);
  const stream = randomStream(seed, 'order', epoch);
  const keys = new Int32Array(2 * ROUNDS);
  for (let index = 0; index < keys.length; index++) keys[index] = stream.uint32();

  return (position) => {
    if (!Number.isInteger(position) || position < 0 || position >= count) {
      throw new RangeError(`position ${position} is outside an epoch of ${count} samples`);
    }
    let cell = position;
    do {
      let left = cell % a;
      let right = Math.floor(cell / a);
      for (let round = 0; round < 2 * ROUNDS; round += 2) {
        left = (left + (mix(right, keys[round]!) % a)) % a;
        right = (right + (mix(left, keys[round + 1]!) % b)) % b;
      }
      cell = right * a + left;
    } while (cell >= count);
    return cell;
  };
}

/** A keyed 32-bit hash: xor-shift and multiply, twice (the constants are murmur3's finaliser). */
function mix(value: number, key: number): number {
  let hash = value ^ key;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) ^ key;
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function checkSizes(count: number, batchSize: number): void {
  if (!Number.isSafeInteger(count) || count < 1 || count > 0x1_0000_0000) {
    throw new RangeError(`an epoch needs between 1 and 2^32 samples, not ${count}`);
  }
  if (!Number.isSafeInteger(batchSize) || batchSize < 1)
    throw new RangeError(`a mini-batch needs 1 sample or more, not ${batchSize}`);
}
