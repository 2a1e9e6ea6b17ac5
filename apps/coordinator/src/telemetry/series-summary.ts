// A bounded picture of one metric series: per bucket of neighbouring points the lowest and the highest, plus first and last.
// Refuses to know where points come from and where they are kept.

/** One [step, value] pair. */
export type Point = [step: number, value: number];

/** Buckets per series; with two points kept in each, a series of up to twice as many points is kept whole. */
const DEFAULT_BUCKETS = 4096;
const INITIAL_BUCKETS = 64;

/**
 * Takes points in rising order of steps. Once all buckets are full, neighbours are merged and every bucket then spans twice as
 * many points, so memory is bounded (128 KiB per series by default) and the cost per point is constant on average. The
 * picture is a function of the points alone, not of when they came.
 */
export class SeriesSummary {
  /** Points that a full bucket spans. */
  private width = 1;
  private buckets = 0;
  private inLastBucket = 0;
  private first: Point | undefined;
  private last: Point | undefined;
  private lowSteps = new Float64Array(INITIAL_BUCKETS);
  private lowValues = new Float64Array(INITIAL_BUCKETS);
  private highSteps = new Float64Array(INITIAL_BUCKETS);
  private highValues = new Float64Array(INITIAL_BUCKETS);

  constructor(private readonly maxBuckets = DEFAULT_BUCKETS) {
    if (!Number.isInteger(maxBuckets) || maxBuckets < 2 || maxBuckets % 2 !== 0) {
      throw new RangeError(`maxBuckets must be an even number of at least 2, not ${maxBuckets}`);
    }
  }

  /** @param step above every step added before. @param value finite. */
  add(step: number, value: number): void {
    this.first ??= [step, value];
    this.last = [step, value];
    if (this.buckets === 0 || this.inLastBucket === this.width) {
      this.openBucket();
    }
    const at = this.buckets - 1;
    if (this.inLastBucket === 0 || value < this.lowValues[at]!) {
      this.lowSteps[at] = step;
      this.lowValues[at] = value;
    }
    // Among equals the lowest is the first and the highest the last, so that a plateau keeps both of its ends.
    if (this.inLastBucket === 0 || value >= this.highValues[at]!) {
      this.highSteps[at] = step;
      this.highValues[at] = value;
    }
    this.inLastBucket += 1;
  }

  /** At most `maxPoints` (taken as at least 4) points in rising order of steps; see `downsample`. */
  points(maxPoints: number): Point[] {
    const kept: Point[] = [];
    for (let at = 0; at < this.buckets; at += 1) {
      const low: Point = [this.lowSteps[at]!, this.lowValues[at]!];
      const high: Point = [this.highSteps[at]!, this.highValues[at]!];
      pushInOrder(kept, low, high);
    }
    if (this.first !== undefined && kept[0]![0] !== this.first[0]) {
      kept.unshift(this.first);
    }
    if (this.last !== undefined && kept[kept.length - 1]![0] !== this.last[0]) {
      kept.push(this.last);
    }
    return downsample(kept, maxPoints);
  }

  private openBucket(): void {
    if (this.buckets === this.maxBuckets) {
      this.mergeNeighbours();
    }
    if (this.buckets === this.lowSteps.length) {
      const size = Math.min(this.maxBuckets, this.buckets * 2);
      this.lowSteps = grown(this.lowSteps, size);
      this.lowValues = grown(this.lowValues, size);
      this.highSteps = grown(this.highSteps, size);
      this.highValues = grown(this.highValues, size);
    }
    this.buckets += 1;
    this.inLastBucket = 0;
  }

  /** Called only when every bucket is full. */
  private mergeNeighbours(): void {
    for (let to = 0; to < this.buckets / 2; to += 1) {
      const left = 2 * to;
      const right = left + 1;
      const low = this.lowValues[right]! < this.lowValues[left]! ? right : left;
      const high = this.highValues[right]! >= this.highValues[left]! ? right : left;
      this.lowSteps[to] = this.lowSteps[low]!;
      this.lowValues[to] = this.lowValues[low]!;
      this.highSteps[to] = this.highSteps[high]!;
      this.highValues[to] = this.highValues[high]!;
    }
    this.buckets /= 2;
    this.width *= 2;
  }
}

/**
 * At most `maxPoints` (taken as at least 4) of `points`: the first, the last, and of each of equally long runs in between
 * the lowest and the highest, so that no spike is lost.
 */
export function downsample(points: readonly Point[], maxPoints: number): Point[] {
  const limit = Math.max(4, Math.floor(maxPoints));
  if (points.length <= limit) {
    return points.map(([step, value]) => [step, value]);
  }
  const inner = points.length - 2;
  const runs = Math.floor((limit - 2) / 2);
  const kept: Point[] = [points[0]!];
  for (let run = 0; run < runs; run += 1) {
    const from = 1 + Math.floor((run * inner) / runs);
    const to = 1 + Math.floor(((run + 1) * inner) / runs);
    let low = points[from]!;
    let high = low;
    for (let at = from + 1; at < to; at += 1) {
      const point = points[at]!;
      low = point[1] < low[1] ? point : low;
      high = point[1] >= high[1] ? point : high;
    }
    pushInOrder(kept, low, high);
  }
  kept.push(points[points.length - 1]!);
  return kept.map(([step, value]) => [step, value]);
}

function pushInOrder(target: Point[], a: Point, b: Point): void {
  if (a[0] === b[0]) {
    target.push(a);
  } else if (a[0] < b[0]) {
    target.push(a, b);
  } else {
    target.push(b, a);
  }
}

function grown(array: Float64Array<ArrayBuffer>, size: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(size);
  larger.set(array);
  return larger;
}
