// What the processes that `lockstep` starts find in their environment: the one place for settings that must be there
// before a process begins, such as those of its memory allocator.
// Refuses to know how the processes are started, and what TensorFlow is told (the worker's `config.ts`).
import { availableParallelism } from 'node:os';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Of glibc; whatever the user has set wins. Activations and gradients of the same sizes come and go every step: memory that
 * was freed is kept, up to 4 GiB, instead of being given back to the system and faulted in page by page in the next step.
 */
const allocator: Environment = {
  MALLOC_TRIM_THRESHOLD_: '4294967296',
  MALLOC_MMAP_THRESHOLD_: '33554432',
};

/**
 * Of Node: threads that read files and decode images, of which there are 4 otherwise. Those that have nothing to do cost
 * little; whatever the user has set wins.
 */
const background: Environment = { UV_THREADPOOL_SIZE: String(Math.max(4, availableParallelism())) };

/** A coordinator of a system on this machine. */
export function coordinatorEnvironment(base: Environment, redisUrl: string): Environment {
  return { ...base, REDIS_URL: redisUrl, LOCKSTEP_EXIT_WITH_PARENT: '1' };
}

/** A worker of a system on this machine. `coordinator` is the host:port of the control port. */
export function workerEnvironment(base: Environment, coordinator: string, redisUrl: string): Environment {
  return foregroundEnvironment({ ...base, LOCKSTEP_COORDINATOR: coordinator, REDIS_URL: redisUrl });
}

/** A program on its own, whose peers are named by the user's environment. */
export function foregroundEnvironment(base: Environment): Environment {
  return { ...allocator, ...background, ...base, LOCKSTEP_EXIT_WITH_PARENT: '1' };
}
