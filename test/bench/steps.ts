// How many steps a benchmark measures: its own number, or --steps N for a quick look.
// Refuses to know the benchmarks.
import { parseArgs } from 'node:util';

export function stepsOr(usual: number): number {
  const { values } = parseArgs({ options: { steps: { type: 'string' }, write: { type: 'boolean' } } });
  return values.steps === undefined ? usual : Number(values.steps);
}
