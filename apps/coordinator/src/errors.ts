// Errors that the coordinator raises on purpose, each with what a person can do about it.
// `SpecError` (a bad job spec) comes from libs/model.

/** Base of all: `message` says what is wrong and, where there is one, what to do. */
export abstract class LockstepError extends Error {
  abstract readonly kind: 'not-found' | 'conflict' | 'unavailable' | 'refused';
}

/** Something that was named does not exist. */
export class NotFoundError extends LockstepError {
  override readonly name = 'NotFoundError';
  readonly kind = 'not-found';
}

/** The present state forbids it. */
export class StateConflictError extends LockstepError {
  override readonly name = 'StateConflictError';
  readonly kind = 'conflict';
}

/** Something that this needs, such as Redis or the disk, cannot be used now. */
export class UnavailableError extends LockstepError {
  override readonly name = 'UnavailableError';
  readonly kind = 'unavailable';
}

/** Understood, but not allowed, whatever the state. */
export class RefusedError extends LockstepError {
  override readonly name = 'RefusedError';
  readonly kind = 'refused';
}
