// The error of set-up: what could not be had or done, and what a person can do about it, each one sentence.
// Refuses to know how it is shown.
import { LockstepError } from '../errors.js';

/** Set-up cannot go on. `message` is `problem` followed by `remedy`; both are whole sentences. */
export class SetupError extends LockstepError {
  override readonly name = 'SetupError';
  readonly kind = 'unavailable';
  readonly problem: string;
  readonly remedy: string;

  constructor(problem: string, remedy: string, options?: ErrorOptions) {
    super(`${problem} ${remedy}`, options);
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** The code that Node gives to errors of the operating system, such as `ENOSPC`. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Turns what the operating system says about a file or folder into a sentence; other errors come back unchanged. */
export function explainFileError(error: unknown, path: string): unknown {
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new SetupError(
        `The disk is full: ${path} could not be written.`,
        'Free some space, or point LOCKSTEP_CACHE_DIR at a folder on another disk.',
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new SetupError(
        `No permission to write ${path}.`,
        'Make the folder writable, or point LOCKSTEP_CACHE_DIR at one that is.',
        { cause: error },
      );
    default:
      return error;
  }
}
