// Bull Board under /queues: a look into Redis for those who run the system. Refuses to know what the entries mean.
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import type { Queue } from 'bullmq';
import type { RequestHandlerLike } from './http-module.js';

export interface QueueBoard {
  readonly router: RequestHandlerLike;
  /** Shows one more queue; for reading only, as entries are the coordinator's. */
  add(queue: Queue): void;
}

export function createQueueBoard(): QueueBoard {
  const serverAdapter = new ExpressAdapter();
  serverAdapter.setBasePath('/queues');
  const { addQueue } = createBullBoard({ queues: [], serverAdapter });
  return {
    router: serverAdapter.getRouter() as RequestHandlerLike,
    add: (queue) => addQueue(new BullMQAdapter(queue, { readOnlyMode: true })),
  };
}
