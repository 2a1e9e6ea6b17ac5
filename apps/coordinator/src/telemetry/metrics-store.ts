// The metrics of one job: every point on disk, a bounded picture of each series in memory for readers.
// Refuses to know what the series mean, who reads them, and over which protocol.
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { MAX_STEP, SeriesFile } from './series-file.js';
import { SeriesSummary, type Point } from './series-summary.js';

const FILE_SUFFIX = '.points';
const MAX_NAME_LENGTH = 120;
/** Points of one series that may wait for the next flush before one happens at once. */
const MAX_WAITING_POINTS = 4096;

export interface MetricsStoreOptions {
  /** Points reach the disk at least this often, milliseconds. 0: only by `flush` and `close`. @default 1000 */
  readonly flushEveryMs?: number;
  /**
   * Told once when points cannot be written (such as a full disk), and again only after a write has worked in between. Metrics never stop a
   * training: readers still see the points, but those that wait too long are missing after a restart.
   */
  readonly onProblem?: (error: Error) => void;
}

interface Series {
  readonly file: SeriesFile;
  /** Points not yet on disk, in order of steps. */
  readonly waitingSteps: number[];
  readonly waitingValues: number[];
  /** Built when first read: a job that nobody looks at costs no memory. */
  summary: SeriesSummary | undefined;
  lastStep: number;
}

/**
 * Appends are buffered for `flushEveryMs`; call `flush` before a checkpoint becomes visible, so that a kill loses only points
 * whose steps will be run again. All methods are synchronous and cheap, but for the first `read` of a long series (some
 * milliseconds per 600,000 points).
 */
export class MetricsStore {
  private readonly series = new Map<string, Series>();
  private readonly timer: NodeJS.Timeout | undefined;
  private closed = false;
  private troubled = false;

  private constructor(
    private readonly dir: string,
    private readonly options: MetricsStoreOptions,
  ) {
    const flushEveryMs = options.flushEveryMs ?? 1000;
    if (flushEveryMs > 0) {
      this.timer = setInterval(() => this.flushAndReport(), flushEveryMs);
      this.timer.unref();
    }
  }

  /** @param dir the job's own metrics folder; made where missing. @throws the errors of node:fs. */
  static open(dir: string, options: MetricsStoreOptions = {}): MetricsStore {
    mkdirSync(dir, { recursive: true });
    const store = new MetricsStore(dir, options);
    for (const entry of readdirSync(dir)) {
      if (entry.endsWith(FILE_SUFFIX)) {
        store.openSeries(decodeURIComponent(entry.slice(0, -FILE_SUFFIX.length)));
      }
    }
    return store;
  }

  /**
   * Adds a point to each named series. Values that are not finite are left out: a gap in the curve, not a break of the axis.
   * A step at or before a series' newest one replaces that series from there on, as when steps are run again.
   * @throws RangeError for a step that is not a whole number in [0, 2^32), or a name that is empty or too long.
   */
  append(step: number, values: Readonly<Record<string, number>>): void {
    this.refuseClosed();
    refuseBadStep(step);
    for (const [name, value] of Object.entries(values)) {
      if (!Number.isFinite(value)) {
        continue;
      }
      const series = this.series.get(name) ?? this.openSeries(name);
      if (step <= series.lastStep) {
        truncateSeries(series, step);
      }
      series.waitingSteps.push(step);
      series.waitingValues.push(value);
      series.lastStep = step;
      series.summary?.add(step, value);
      if (series.waitingSteps.length >= MAX_WAITING_POINTS) {
        this.flushAndReport();
      }
    }
  }

  /** Drops the points of all series at or after `step`; call it when a job goes back to the version `step`. */
  truncateFrom(step: number): void {
    this.refuseClosed();
    refuseBadStep(step);
    for (const series of this.series.values()) {
      if (step <= series.lastStep) {
        truncateSeries(series, step);
      }
    }
  }

  /**
   * Points of each named series (of all when undefined) in rising order of steps, at most `maxPoints` (taken as at least 4)
   * each: first, last, and the lowest and highest of every stretch between. A name without points gives an empty list.
   */
  read(names: readonly string[] | undefined, maxPoints: number): Record<string, Point[]> {
    const result: Record<string, Point[]> = {};
    for (const name of names ?? this.names()) {
      const series = this.series.get(name);
      const points = series === undefined ? [] : summaryOf(series).points(maxPoints);
      // defineProperty, as a client may ask for a series called __proto__.
      Object.defineProperty(result, name, { value: points, enumerable: true, configurable: true, writable: true });
    }
    return result;
  }

  /** Names of the series that have points, sorted. */
  names(): string[] {
    return [...this.series].flatMap(([name, series]) => (series.lastStep < 0 ? [] : [name])).sort();
  }

  /** Writes what waits. @throws the errors of node:fs, such as ENOSPC; the points then wait on. */
  flush(): void {
    for (const series of this.series.values()) {
      if (series.waitingSteps.length > 0) {
        series.file.append(series.waitingSteps, series.waitingValues);
        forgetWaiting(series, 0);
      }
    }
    this.troubled = false;
  }

  /** Flushes and releases the timer; the store cannot be written afterwards. Idempotent. */
  close(): void {
    if (this.closed) {
      return;
    }
    clearInterval(this.timer);
    this.flushAndReport();
    this.closed = true;
    this.series.clear();
  }

  private openSeries(name: string): Series {
    if (name.length === 0 || encodeURIComponent(name).length > MAX_NAME_LENGTH) {
      throw new RangeError(`A metric's name must have 1 to ${MAX_NAME_LENGTH} characters: "${name.slice(0, 40)}"`);
    }
    const file = SeriesFile.open(join(this.dir, encodeURIComponent(name) + FILE_SUFFIX));
    const series = { file, waitingSteps: [], waitingValues: [], summary: undefined, lastStep: file.lastStep };
    this.series.set(name, series);
    return series;
  }

  private flushAndReport(): void {
    try {
      this.flush();
    } catch (error) {
      for (const series of this.series.values()) {
        if (series.waitingSteps.length >= MAX_WAITING_POINTS) {
          // The summary keeps what readers need; an unbounded buffer would turn a full disk into a full memory.
          summaryOf(series);
          forgetWaiting(series, 0);
        }
      }
      if (!this.troubled) {
        this.troubled = true;
        this.options.onProblem?.(new Error(`Metrics in ${this.dir} cannot be written`, { cause: error }));
      }
    }
  }

  private refuseClosed(): void {
    if (this.closed) {
      throw new Error(`The metrics store of ${this.dir} is closed`);
    }
  }
}

function truncateSeries(series: Series, step: number): void {
  const keep = series.waitingSteps.findIndex((waiting) => waiting >= step);
  forgetWaiting(series, keep < 0 ? series.waitingSteps.length : keep);
  series.file.truncateFrom(step);
  series.lastStep = series.waitingSteps.at(-1) ?? series.file.lastStep;
  series.summary = undefined;
}

function forgetWaiting(series: Series, keep: number): void {
  series.waitingSteps.length = keep;
  series.waitingValues.length = keep;
}

function summaryOf(series: Series): SeriesSummary {
  if (series.summary === undefined) {
    const summary = new SeriesSummary();
    series.file.forEach((step, value) => summary.add(step, value));
    series.waitingSteps.forEach((step, at) => summary.add(step, series.waitingValues[at]!));
    series.summary = summary;
  }
  return series.summary;
}

function refuseBadStep(step: number): void {
  if (!Number.isInteger(step) || step < 0 || step > MAX_STEP) {
    throw new RangeError(`A metric's step must be a whole number in [0, ${MAX_STEP}], not ${step}`);
  }
}
