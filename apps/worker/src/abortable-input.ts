// Images for a task that may no longer be wanted. Refuses to know how they are made.
import type { TaskEntry } from '#proto/task-entry.js';
import type { JobContext } from './job-contexts.js';
import type { SharedBuffers } from './shared-buffers.js';
import { prepareInput, type TaskInput } from './task-input.js';
import { unlessAborted } from './withdrawal.js';

/** Does not wait for a read that nobody wants any more: it may hang. Its memory stays lent until it ends. */
export async function abortableInput(
  task: TaskEntry,
  job: JobContext,
  buffers: SharedBuffers,
  signal: AbortSignal,
): Promise<TaskInput> {
  const input = prepareInput(task, job, buffers, signal);
  try {
    return await unlessAborted(input, signal);
  } catch (error) {
    void input.then(
      (late) => late.release(),
      () => undefined, // told already, or of no interest any more
    );
    throw error;
  }
}
