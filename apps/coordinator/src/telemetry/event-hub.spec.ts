// Order, resumption, bounds and ends of event subscriptions.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventHub, type LockstepEvent, type SnapshotNeeded } from './event-hub.js';

type Told = LockstepEvent | SnapshotNeeded;

/** Takes what is there without waiting for more than a few turns of the event loop. */
async function take(iterator: AsyncIterator<Told>, count: number): Promise<Told[]> {
  const told: Told[] = [];
  for (let n = 0; n < count; n += 1) {
    const next = await iterator.next();
    if (next.done === true) {
      break;
    }
    told.push(next.value);
  }
  return told;
}

function subscription(hub: EventHub, filter: { jobId?: string }, lastEventId?: number) {
  const abort = new AbortController();
  return { abort, iterator: hub.subscribe(filter, lastEventId, abort.signal) };
}

describe('EventHub', () => {
  it('asks for a snapshot first, then tells what comes, to every subscriber', async () => {
    const hub = new EventHub({ firstId: 100 });
    const one = subscription(hub, {});
    const two = subscription(hub, {});
    expect(await take(one.iterator, 1)).toEqual([{ type: 'snapshot-needed', id: 100 }]);
    const later = take(one.iterator, 2);
    hub.publish('job', 'a', 1);
    hub.publish('worker', null, 2);
    expect(await later).toEqual([
      { id: 101, type: 'job', jobId: 'a', data: 1 },
      { id: 102, type: 'worker', jobId: null, data: 2 },
    ]);
    expect(await take(two.iterator, 1)).toEqual([{ type: 'snapshot-needed', id: 102 }]);
  });

  it('goes on after the last seen event without a snapshot', async () => {
    const hub = new EventHub({ firstId: 0 });
    [1, 2, 3, 4].forEach((data) => hub.publish('job', 'a', data));
    const resumed = subscription(hub, {}, 2);
    expect((await take(resumed.iterator, 2)).map((event) => event.id)).toEqual([3, 4]);
  });

  it.each([
    ['too old', 1],
    ['from the future (another process)', 999],
    ['not a whole number', 5.5],
    ['not a number', NaN],
  ])('asks for a snapshot when the last seen event is %s', async (_, lastEventId) => {
    const hub = new EventHub({ firstId: 0, capacity: 4 });
    [1, 2, 3, 4, 5, 6].forEach((data) => hub.publish('job', 'a', data));
    const { iterator } = subscription(hub, {}, lastEventId);
    expect(await take(iterator, 1)).toEqual([{ type: 'snapshot-needed', id: 6 }]);
  });

  it('never takes an id of an earlier process for its own', async () => {
    const earlier = new EventHub({ firstId: (Date.now() - 5_000) * 1000 });
    earlier.publish('job', 'a', 1);
    const { iterator } = subscription(earlier, {});
    const seen = (await iterator.next()).value!.id;
    const now = subscription(new EventHub(), {}, seen);
    expect((await take(now.iterator, 1))[0]!.type).toBe('snapshot-needed');
  });

  it('tells a job its own events and those of the workers only', async () => {
    const hub = new EventHub({ firstId: 0 });
    const { iterator } = subscription(hub, { jobId: 'a' }, 0);
    hub.publish('points', 'b', 1);
    hub.publish('points', 'a', 2);
    hub.publish('worker', null, 3);
    hub.publish('job', 'a', 4);
    expect((await take(iterator, 3)).map((event) => event.id)).toEqual([2, 3, 4]);
  });

  it('ends with the signal and with the hub, also while waiting', async () => {
    const hub = new EventHub({ firstId: 0 });
    const one = subscription(hub, {}, 0);
    const two = subscription(hub, {}, 0);
    const waiting = [one.iterator.next(), two.iterator.next()];
    one.abort.abort();
    expect((await waiting[0])!.done).toBe(true);
    hub.close();
    expect((await waiting[1])!.done).toBe(true);
    hub.publish('job', 'a', 1);
    expect((await subscription(hub, {}, 0).iterator.next()).done).toBe(true);
  });

  it('gives every subscriber gapless events in order, or a snapshot where some were lost', async () => {
    const action = fc.record({ reader: fc.integer({ min: 0, max: 2 }), publish: fc.integer({ min: 0, max: 6 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        fc.array(action, { maxLength: 40 }),
        async (capacity, actions) => {
          const hub = new EventHub({ firstId: 0, capacity });
          const readers = [0, 1, 2].map(() => ({ ...subscription(hub, {}), seen: -1 }));
          let published = 0;
          for (const { reader: at, publish } of actions) {
            for (let n = 0; n < publish; n += 1) {
              hub.publish('points', 'a', (published += 1));
            }
            const reader = readers[at]!;
            if (reader.seen === published) {
              continue;
            }
            const told = (await reader.iterator.next()).value!;
            if (told.type === 'snapshot-needed') {
              expect(reader.seen === -1 || published - reader.seen > capacity).toBe(true);
              expect(told.id).toBe(published);
            } else {
              expect(told.id).toBe(reader.seen + 1);
              expect(told.data).toBe(told.id);
            }
            reader.seen = told.id;
          }
          hub.close();
        },
      ),
    );
  });
});
