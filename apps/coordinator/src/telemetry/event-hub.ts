// What has just happened, for people who watch: a bounded ring of events that any number of subscribers read at their own pace.
// Refuses to know how events travel (SSE or other) and what a snapshot holds.

export type LockstepEventType = 'job' | 'worker' | 'points';

/**
 * `data`: a JobView for `job`, a WorkerView or `{id, gone: true}` for `worker`, and for `points` `{jobId, series}` with the newest
 * points by series (the id is repeated there because a stream of all jobs' events carries only the data).
 */
export interface LockstepEvent {
  readonly id: number;
  readonly type: LockstepEventType;
  readonly jobId: string | null;
  readonly data: unknown;
}

/** Told in place of events that are no longer kept: the subscriber must look at the present state afresh. */
export interface SnapshotNeeded {
  readonly type: 'snapshot-needed';
  /** Send it as the snapshot's event id: what follows is newer. */
  readonly id: number;
}

export interface EventHubOptions {
  /** Events kept for those who come back or are slow. @default 2000 */
  readonly capacity?: number;
  /** Number before the first event's. @default derived from the clock, so that ids of an earlier process are never taken for ours */
  readonly firstId?: number;
}

/** Leaves room for a thousand events per millisecond of a process's life before its ids could meet those of the next one. */
const IDS_PER_MILLISECOND = 1000;

/**
 * Subscribers hold no queue of their own, only a place in the ring; whoever falls more than `capacity` events behind gets
 * `snapshot-needed` instead of the events that were lost, so a slow reader costs no memory.
 */
export class EventHub {
  private readonly ring: (LockstepEvent | undefined)[];
  private newestId: number;
  private readonly emptyId: number;
  private readonly waiting = new Set<() => void>();
  private closed = false;

  constructor(options: EventHubOptions = {}) {
    this.ring = Array.from({ length: options.capacity ?? 2000 });
    this.newestId = options.firstId ?? Date.now() * IDS_PER_MILLISECOND;
    this.emptyId = this.newestId;
  }

  /** Never blocks. `data` must not be changed afterwards. After `close` it does nothing. */
  publish(type: LockstepEventType, jobId: string | null, data: unknown): void {
    if (this.closed) {
      return;
    }
    this.newestId += 1;
    this.ring[this.newestId % this.ring.length] = { id: this.newestId, type, jobId, data };
    this.wakeAll();
  }

  /**
   * Events after `lastEventId` as they come, until `signal` aborts or the hub closes. With `filter.jobId`: those of that job and
   * those that belong to no job (workers). Begins with `snapshot-needed` when there is no `lastEventId` or it is not in reach.
   */
  async *subscribe(
    filter: { readonly jobId?: string | undefined },
    lastEventId: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<LockstepEvent | SnapshotNeeded, void, undefined> {
    let seen = lastEventId !== undefined && this.reaches(lastEventId) ? lastEventId : undefined;
    while (!this.closed && !signal.aborted) {
      if (seen === undefined || !this.reaches(seen)) {
        seen = this.newestId;
        yield { type: 'snapshot-needed', id: seen };
        continue;
      }
      if (seen === this.newestId) {
        await this.nextEvent(signal);
        continue;
      }
      seen += 1;
      const event = this.ring[seen % this.ring.length]!;
      if (filter.jobId === undefined || event.jobId === null || event.jobId === filter.jobId) {
        yield event;
      }
    }
  }

  /** Ends every subscription. Idempotent. */
  close(): void {
    this.closed = true;
    this.wakeAll();
  }

  /** Whether every event after `id` is still kept. */
  private reaches(id: number): boolean {
    return (
      Number.isInteger(id) && id <= this.newestId && id >= Math.max(this.emptyId, this.newestId - this.ring.length)
    );
  }

  private nextEvent(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  private wakeAll(): void {
    for (const wake of this.waiting) {
      wake();
    }
  }
}
