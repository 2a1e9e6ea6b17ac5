// The life of a job as a table: which state may follow which, and what people may ask for in each. Pure.
import type { JobAction, JobState } from './ports.js';

const next: Readonly<Record<JobState, readonly JobState[]>> = {
  // A run that was paused and resumed at once may have been about to end.
  queued: ['running', 'paused', 'completed', 'failed', 'cancelled'],
  // Back to queued: the coordinator stops or starts again, and the job goes on by itself.
  running: ['queued', 'paused', 'completed', 'failed', 'cancelled'],
  paused: ['queued', 'cancelled'],
  completed: [],
  failed: [],
  cancelled: [],
};

const allowedIn: Readonly<Record<JobAction, readonly JobState[]>> = {
  pause: ['queued', 'running'],
  resume: ['paused'],
  cancel: ['queued', 'running', 'paused'],
  checkpoint: ['running'],
};

export function mayFollow(from: JobState, to: JobState): boolean {
  return next[from].includes(to);
}

export function isEnded(state: JobState): boolean {
  return next[state].length === 0;
}

export function mayAct(state: JobState, action: JobAction): boolean {
  return allowedIn[action].includes(state);
}

/** States in which an action makes sense, for messages: `queued or running`. */
export function statesFor(action: JobAction): string {
  return allowedIn[action].join(' or ');
}
