// How commander turns the text of options into values, and what it says when it cannot.
// Refuses to know which verb an option belongs to.
import { InvalidArgumentError } from 'commander';

/** A whole number in [least, most]. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

export const port = wholeNumber(0, 65_535);

/** An option that may be given more than once. */
export function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

/** The end of a verb's help, with commands as they are typed in a clone. */
export function example(...lines: readonly string[]): string {
  return `\nExample${lines.length > 1 ? 's' : ''}:\n${lines.map((line) => `  $ ${line.replace(/(^| )lockstep /, '$1npx lockstep ')}`).join('\n')}`;
}
