// What a row of the fault matrix is. Refuses to know the rows.
import type { Ground } from './ground.js';

export interface Cell {
  /** What goes wrong, for people. */
  readonly fault: string;
  /** Laid over the matrix's job spec; must not change the bits. */
  readonly faults?: object;
  /** Does the harm while the job trains, and undoes what must be undone for it to end. */
  readonly harm: (ground: Ground) => Promise<void>;
  /**
   * Longest time that may lie between two commits, seconds: the bound that the system states for this fault, and what a
   * loaded machine of few cores takes to compute and to start processes again.
   */
  readonly longestStepSeconds: number;
}

/**
 * Laid over the spec where what becomes of one contribution is looked at: on a slow machine a copy of its task might be
 * accepted before.
 */
export const noCopies = { faults: { speculation: false } };
/** What machines that do other things at the same time may add to any bound, seconds. */
export const allowance = 6;
/** A task that a dead worker held is with another one within this, seconds. */
export const handOver = 2;
/** A worker that is silent or makes no progress loses its tasks after this, seconds; the board looks each second. */
export const lease = 11;
/** Between a coordinator's start and its workers' return, seconds: their longest pause, and the longest of gRPC's. */
export const comeBack = 10;
/** Until people hear that tasks come back undone, seconds: three tasks, four pulls each, with pauses between. */
export const undone = 10;
/** What an entry that the queue lost costs, seconds: it is looked for after one, each second. */
export const lostEntry = 3;
