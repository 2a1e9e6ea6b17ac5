// Owns: which samples a step consumes, a pure function of (seed, shuffle, epoch, step): a keyed permutation that is computed, never stored.
// Refuses to know: images, labels, workers. Any position of any epoch costs the same, so resuming needs no replay.
import { randomStream, type RandomStream } from './random.js';

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

/** What the order of samples depends on besides the epoch: part of `training` in a job spec. */
export interface SampleOrder {
  readonly seed: number;
  readonly shuffle:
    | { readonly kind: 'global' }
    /** Blocks of consecutive ids are permuted, then the ids within each window of blocks. */
    | { readonly kind: 'block'; readonly blockSamples: number; readonly windowBlocks: number };
}

/** The sample ids at positions [first, first + length) of an epoch's order. */
export function sampleIds(
  order: SampleOrder,
  epoch: number,
  count: number,
  first: number,
  length: number,
): Uint32Array {
  const idAt = epochOrder(order, epoch, count);
  const ids = new Uint32Array(length);
  for (let index = 0; index < length; index++) ids[index] = idAt(first + index);
  return ids;
}

/**
 * The order of one epoch: a bijection of [0, count) onto itself, keyed by (seed, epoch). Any position costs the same.
 *
 * @throws RangeError for a position outside [0, count)
 */
export function epochOrder({ seed, shuffle }: SampleOrder, epoch: number, count: number): (position: number) => number {
  checkSizes(count, 1);
  const idAt =
    shuffle.kind === 'global'
      ? permutation(randomStream(seed, 'order', epoch), count)
      : blockOrder(seed, epoch, count, shuffle.blockSamples, shuffle.windowBlocks);
  return (position) => {
    if (!Number.isInteger(position) || position < 0 || position >= count) {
      throw new RangeError(`position ${position} is outside an epoch of ${count} samples`);
    }
    return idAt(position);
  };
}

/**
 * Blocks in a random order, the ids of each window of consecutive blocks mixed. The last block may be short: the place that it
 * gets is drawn, and the whole ones are permuted around it. Positions are counted as if it were whole, too, and so are ids.
 */
function blockOrder(seed: number, epoch: number, count: number, blockSamples: number, windowBlocks: number) {
  const blocks = Math.ceil(count / blockSamples);
  const lacking = blocks * blockSamples - count;
  const stream = randomStream(seed, 'blocks', epoch);
  const shortAt = lacking === 0 ? blocks : stream.below(blocks);
  const others = lacking === 0 ? blocks : blocks - 1;
  const order = others === 0 ? () => 0 : permutation(stream, others);
  const blockAt = (place: number): number =>
    place === shortAt ? blocks - 1 : order(place < shortAt ? place : place - 1);
  const windowSamples = windowBlocks * blockSamples;
  /** Where the short block's samples end; what comes after moves up by what it lacks. */
  const shortEnd = (shortAt + 1) * blockSamples - lacking;
  const asIfWhole = (position: number): number => (position < shortEnd ? position : position + lacking);

  let window = -1;
  let mixed: (position: number) => number = () => 0;
  let start = 0;
  return (position: number): number => {
    const wanted = Math.floor(asIfWhole(position) / windowSamples);
    if (wanted !== window) {
      window = wanted;
      const begin = (at: number): number =>
        Math.min(at * windowSamples - (at * windowBlocks > shortAt ? lacking : 0), count);
      start = begin(wanted);
      mixed = permutation(randomStream(seed, 'window', epoch, wanted), begin(wanted + 1) - start);
    }
    const whole = asIfWhole(start + mixed(position - start));
    const place = Math.floor(whole / blockSamples);
    return blockAt(place) * blockSamples + (whole - place * blockSamples);
  };
}

const ROUNDS = 8;

/**
 * A bijection of [0, count) onto itself.
 *
 * A Feistel network over a grid of a x b cells, the tightest about count (Black, Rogaway: Ciphers with arbitrary finite
 * domains, CT-RSA 2002); positions that land on one of the few cells beyond count are sent round again (cycle walking).
 */
function permutation(stream: RandomStream, count: number): (position: number) => number {
  const a = Math.ceil(Math.sqrt(count));
  const b = Math.ceil(count / a);
  const keys = new Int32Array(2 * ROUNDS);
  for (let index = 0; index < keys.length; index++) keys[index] = stream.uint32();

  return (position) => {
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
