// Joins the pool: registers with the coordinator, again and again until it answers, and says in plain words what it waits for.
// Refuses to know what happens once the worker belongs.
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { unaryCall } from '#proto/calls.js';
import type { RegisterRequest, RegisterResponse } from '#proto/generated/lockstep/v1/pool.js';
import { WireError } from '#proto/wire-error.js';
import type { PoolCaller } from './pool-caller.js';
import { delay, messageOf } from './withdrawal.js';

const registerDeadlineMs = 10_000;
const firstPauseMs = 200;
const longestPauseMs = 5_000;

/**
 * Registers, retrying for ever with growing pauses (half of each is random, so that a pool does not come back in one
 * instant). Rejects only with the signal's reason.
 */
export async function register(
  pool: PoolCaller,
  request: RegisterRequest,
  log: Logger,
  signal: AbortSignal,
): Promise<RegisterResponse> {
  let said: string | undefined;
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    try {
      const site = { call: 'Pool.Register', peer: pool.address };
      const limits = { deadlineMs: registerDeadlineMs, signal };
      return await unaryCall(site, limits, (options, done) =>
        pool.client.register(request, pool.metadata, options, done),
      );
    } catch (error) {
      signal.throwIfAborted();
      const sentence = sentenceFor(error, pool.address);
      if (sentence !== said) log.warn({ coordinator: pool.address, cause: messageOf(error) }, sentence);
      said = sentence;
    }
    const longest = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(attempt, 10));
    await delay(longest * (0.5 + Math.random() / 2), signal);
  }
}

/** Exported for its spec. What a person needs to know about why joining failed. */
export function sentenceFor(error: unknown, address: string): string {
  if (!(error instanceof WireError)) return `Joining the pool at ${address} failed: ${messageOf(error)}`;
  const { fault, grpcStatus } = error;
  if (fault === 'unauthenticated' || grpcStatus === status.PERMISSION_DENIED) {
    return `The coordinator at ${address} refuses this worker's token: set LOCKSTEP_WORKER_TOKEN to the coordinator's value. Trying again.`;
  }
  if (fault === 'unreachable' || fault === 'closed') {
    return `Waiting for the coordinator at ${address} (LOCKSTEP_COORDINATOR): nothing answers there yet.`;
  }
  if (fault === 'deadline')
    return `Waiting for the coordinator at ${address}: it accepts connections but does not answer.`;
  if (grpcStatus === status.FAILED_PRECONDITION) {
    return `The coordinator at ${address} turns this worker away: ${error.message}. Trying again.`;
  }
  return `Joining the pool at ${address} failed: ${error.message}. Trying again.`;
}
