// How a command ends: exit codes and the errors that carry one to `main.ts`.
// Refuses to know which command failed and how its sentence is printed.

/** Contract: 0 good, 1 the job or the check failed, 2 wrong usage; 130 is the shell's code for Ctrl-C. */
export const exitCodes = { good: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** The command could not do its work. `message` is the whole text for the user; lines may be several. */
export class CommandFailed extends Error {
  override readonly name: string = 'CommandFailed';
  readonly exitCode: number = exitCodes.failed;
}

/** The command was called wrongly: bad option, unreadable or refused file. */
export class WrongUsage extends CommandFailed {
  override readonly name = 'WrongUsage';
  override readonly exitCode = exitCodes.usage;
}

/** Ctrl-C before the work was done. Needs no sentence. */
export class Interrupted extends CommandFailed {
  override readonly name = 'Interrupted';
  override readonly exitCode = exitCodes.interrupted;
}

/** What any thrown value says to a user: its sentence, never its stack. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
