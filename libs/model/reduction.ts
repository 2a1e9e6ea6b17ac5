// Owns: the shape of every sum: how a mini-batch is cut into shards and tasks, and the one binary tree along which they are added.
// Refuses to know: where contributions come from, what stores them, and which threads add them.
export { addBfloat16Into, addInto, roundToBfloat16, widenBfloat16 } from './float-arrays.js';

/** A run of consecutive samples of a mini-batch. */
export interface Shard {
  /** First sample, counted from the start of the mini-batch. */
  readonly first: number;
  readonly count: number;
}

/** An aligned run of shards that one queue entry asks for. */
export interface TaskShards {
  readonly firstShard: number;
  readonly shardCount: number;
}

/** Cuts `samples` samples into shards of `shardSize`; a last shard of fewer than 2 samples joins the one before it. */
export function shardsOf(samples: number, shardSize: number): Shard[] {
  checkCount('samples', samples);
  checkCount('shardSize', shardSize);
  const shards: Shard[] = [];
  for (let first = 0; first < samples; first += shardSize) {
    shards.push({ first, count: Math.min(shardSize, samples - first) });
  }
  const last = shards.at(-1);
  const before = shards.at(-2);
  if (last && before && last.count < 2) {
    shards.splice(-2, 2, { first: before.first, count: before.count + last.count });
  }
  return shards;
}

/** Groups shards into tasks of `shardsPerTask` (a power of two), so that each task is a node of the tree; the last may be shorter. */
export function tasksOf(shardCount: number, shardsPerTask: number): TaskShards[] {
  checkCount('shardCount', shardCount);
  if (!isPowerOfTwo(shardsPerTask)) throw new RangeError(`shardsPerTask must be a power of two, not ${shardsPerTask}`);
  const tasks: TaskShards[] = [];
  for (let firstShard = 0; firstShard < shardCount; firstShard += shardsPerTask) {
    tasks.push({ firstShard, shardCount: Math.min(shardsPerTask, shardCount - firstShard) });
  }
  return tasks;
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1 && Number.isInteger(Math.log2(value));
}

/** Where the sum over leaves [lo, hi) splits: lo plus the largest power of two below hi - lo. Needs two leaves or more. */
export function splitPoint(lo: number, hi: number): number {
  if (!(hi - lo >= 2)) throw new RangeError(`the run [${lo}, ${hi}) has no split`);
  let power = 1;
  while (power * 2 < hi - lo) power *= 2;
  return lo + power;
}

/** The tree's sum of plain numbers in float64, for losses and squared norms whose parts are known already. */
export function sumTree(values: ArrayLike<number>, lo = 0, hi = values.length): number {
  if (hi - lo === 0) return 0;
  if (hi - lo === 1) return values[lo]!;
  const middle = splitPoint(lo, hi);
  return sumTree(values, lo, middle) + sumTree(values, middle, hi);
}

/** A node of the tree: the sum over leaves [lo, hi). */
export interface TreeNode {
  readonly lo: number;
  readonly hi: number;
}

/**
 * Adds leaves along the tree as they arrive, in any order: two siblings merge as soon as both are there, so the result has the
 * bits of the recursive definition, and leaves that arrive in index order hold at most log2(leaves) + 1 values.
 */
export class TreeAccumulator<Value> {
  readonly leaves: number;
  private readonly merge: (left: Value, right: Value, node: TreeNode) => Value;
  private readonly waiting = new Map<number, Value>();
  private readonly seen: Uint8Array;
  private readonly nodes: InnerNode[] = [];
  private readonly leafParent: Int32Array;
  private rootValue: { readonly value: Value } | undefined;

  /**
   * @param leaves number of leaves, 1 or more
   * @param merge gives the sum of two siblings; it may add `right` into `left` and must then take care of right's buffer itself
   */
  constructor(leaves: number, merge: (left: Value, right: Value, node: TreeNode) => Value) {
    checkCount('leaves', leaves);
    this.leaves = leaves;
    this.merge = merge;
    this.seen = new Uint8Array(leaves);
    this.leafParent = new Int32Array(leaves).fill(-1);
    this.build(0, leaves, -1, false);
  }

  /** Hands in a leaf and merges what can be merged. Returns true once the root is there. Each leaf may come once. */
  add(leaf: number, value: Value): boolean {
    if (!Number.isInteger(leaf) || leaf < 0 || leaf >= this.leaves) {
      throw new RangeError(`leaf ${leaf} is outside a tree of ${this.leaves} leaves`);
    }
    if (this.seen[leaf] === 1) throw new RangeError(`leaf ${leaf} was added already`);
    this.seen[leaf] = 1;

    let sum = value;
    let parent = this.leafParent[leaf]!;
    let isRight = parent >= 0 && leaf >= this.nodes[parent]!.middle;
    while (parent >= 0) {
      const node = this.nodes[parent]!;
      const siblingKey = 2 * parent + (isRight ? 0 : 1);
      if (!this.waiting.has(siblingKey)) {
        this.waiting.set(2 * parent + (isRight ? 1 : 0), sum);
        return false;
      }
      const sibling = this.waiting.get(siblingKey) as Value;
      this.waiting.delete(siblingKey);
      sum = isRight ? this.merge(sibling, sum, node) : this.merge(sum, sibling, node);
      isRight = node.isRight;
      parent = node.parent;
    }
    this.rootValue = { value: sum };
    return true;
  }

  has(leaf: number): boolean {
    return this.seen[leaf] === 1;
  }

  /** The sum over all leaves, once each of them has been added. */
  get root(): Value | undefined {
    return this.rootValue?.value;
  }

  get complete(): boolean {
    return this.rootValue !== undefined;
  }

  /** How many partial sums wait for their sibling: the buffers that the accumulator holds. */
  get held(): number {
    return this.waiting.size;
  }

  /** The values that still wait, e.g. to free their buffers when a step is abandoned. */
  heldValues(): Value[] {
    return [...this.waiting.values()];
  }

  private build(lo: number, hi: number, parent: number, isRight: boolean): void {
    if (hi - lo === 1) {
      this.leafParent[lo] = parent;
      return;
    }
    const middle = splitPoint(lo, hi);
    const index = this.nodes.push({ lo, hi, middle, parent, isRight }) - 1;
    this.build(lo, middle, index, false);
    this.build(middle, hi, index, true);
  }
}

interface InnerNode extends TreeNode {
  readonly middle: number;
  /** Index of the parent, -1 for the root. */
  readonly parent: number;
  /** Whether this node is its parent's right child. */
  readonly isRight: boolean;
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${name} must be an integer from 1 on, not ${value}`);
}
