// Owns: what a pattern of archives stands for: {000000..000146} counts, with as many digits as its first number has.
// Refuses to know: where the archives are.
import { DatasetError } from './dataset-error.js';

const mostArchives = 100_000;

/**
 * The names that a pattern stands for, in order. Several ranges count like the digits of a clock, the last one fastest.
 * @throws DatasetError for a range that ends before it starts, or for too many archives
 */
export function archiveNames(pattern: string): string[] {
  const range = /\{(\d{1,12})\.\.(\d{1,12})\}/.exec(pattern);
  if (range === null) {
    if (/[{}]/.test(pattern))
      throw new DatasetError(`'${pattern}' has braces that are no range such as {000000..000146}`);
    return [pattern];
  }
  const [whole, from, to] = range as unknown as [string, string, string];
  const count = Number(to) - Number(from) + 1;
  if (count < 1) throw new DatasetError(`The range ${whole} in '${pattern}' ends before it starts`);
  const rest = archiveNames(pattern.slice(range.index + whole.length));
  if (count * rest.length > mostArchives)
    throw new DatasetError(`'${pattern}' stands for more than ${mostArchives} archives`);
  const start = pattern.slice(0, range.index);
  return Array.from({ length: count }, (_, at) => String(Number(from) + at).padStart(from.length, '0')).flatMap(
    (number) => rest.map((end) => start + number + end),
  );
}
