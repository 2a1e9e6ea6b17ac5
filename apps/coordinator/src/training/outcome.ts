// What became of a contribution, as a word for logs, counters and the ledger. One word per value of the wire's enum.
import { Outcome } from '#proto/generated/lockstep/v1/pool.js';

export const outcomeNames = [
  'accepted',
  'duplicate',
  'stale',
  'unknown_job',
  'layout_mismatch',
  'checksum_mismatch',
  'not_finite',
  'incomplete',
  'wrong_samples',
  'not_admitted',
  'no_room',
] as const;
export type OutcomeName = (typeof outcomeNames)[number];

const onTheWire: Readonly<Record<OutcomeName, Outcome>> = {
  accepted: Outcome.ACCEPTED,
  duplicate: Outcome.DUPLICATE,
  stale: Outcome.STALE,
  unknown_job: Outcome.UNKNOWN_JOB,
  layout_mismatch: Outcome.LAYOUT_MISMATCH,
  checksum_mismatch: Outcome.CHECKSUM_MISMATCH,
  not_finite: Outcome.NOT_FINITE,
  incomplete: Outcome.INCOMPLETE,
  wrong_samples: Outcome.WRONG_SAMPLES,
  not_admitted: Outcome.NOT_ADMITTED,
  no_room: Outcome.NO_ROOM,
};

export function toWireOutcome(name: OutcomeName): Outcome {
  return onTheWire[name];
}
