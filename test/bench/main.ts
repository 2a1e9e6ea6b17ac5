// `npm run bench`: runs the benchmarks, all or those that are named, and puts the machine under what they print.
// Refuses to measure anything. Each benchmark is a program beside this one whose standard output is its answer.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadOfOthers, machineLine } from './machine.js';
import { keepResult } from './results.js';
import { progress } from './table.js';

const benchmarks: Readonly<Record<string, string>> = {
  engine: 'processes that compute tasks: images/s and memory by network and precision, beside PyTorch (4 minutes)',
  wire: 'parameters and gradients of ResNet-152 between two processes over loopback (1 minute)',
  reducer: 'push, sum, update and pull of 60 M parameters without computing, and the loops over them (1 minute)',
  coordination: 'the whole system on ResNet-20: what a step takes beyond computing (3 minutes)',
  system: 'the whole system on ResNet-152 and ResNet-20 with two workers, beside PyTorch DDP (8 minutes)',
  'cost-model': 'what a step takes, predicted by the formula of docs/performance.md and measured (6 minutes)',
  demo: '`npm run demo` from set-up to test accuracy (4 minutes)',
  'precision-curves':
    'the same training in float32 and bfloat16, loss and accuracy side by side (half an hour, by name only)',
  chaos:
    'ResNet-20 while something breaks every few seconds, for --minutes 10, then without (20 minutes, by name only)',
};

const takesSteps = new Set(['engine', 'system', 'cost-model']);

/** Too long to run unless it is named. */
const byNameOnly = new Set(['precision-curves', 'chaos']);

const help = `Usage: npm run bench -- [NAME …] [--minutes N] [--steps N] [--write] [--list]

${Object.entries(benchmarks)
  .map(([name, what]) => `  ${name.padEnd(18)}${what}`)
  .join('\n')}

Without a NAME they run one after the other. --write keeps what they found in docs and README.md.
--steps N lets engine, system and cost-model measure N steps of each row instead of their own number.
Where LOCKSTEP_PARITY_PYTHON names a Python that has PyTorch, engine, coordination and system measure it beside
Lockstep, and reducer gloo's all-reduce and numpy's addition.`;

process.exitCode = await main();

async function main(): Promise<number> {
  let options;
  try {
    options = parseArgs({
      allowPositionals: true,
      options: {
        minutes: { type: 'string' },
        steps: { type: 'string' },
        write: { type: 'boolean' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    progress(`${(error as Error).message}\n\n${help}`);
    return 2;
  }
  const { values, positionals } = options;
  const unknown = positionals.filter((name) => !Object.hasOwn(benchmarks, name));
  if (unknown.length > 0) {
    progress(`There is no benchmark ${unknown.join(', ')}.\n\n${help}`);
    return 2;
  }
  if (values.steps !== undefined && !/^[1-9]\d{0,5}$/.test(values.steps)) {
    progress(`--steps ${values.steps}: it must be a whole number above 0.`);
    return 2;
  }
  if (values.list === true || values.help === true) {
    console.log(help);
    return 0;
  }
  const failed: string[] = [];
  // Before anything is kept, which would change the working tree.
  const machine = machineLine();
  const usual = Object.keys(benchmarks).filter((name) => !byNameOnly.has(name));
  for (const name of positionals.length > 0 ? positionals : usual) {
    const args = values.write === true ? ['--write'] : [];
    if (name === 'chaos' && values.minutes !== undefined) args.push('--minutes', values.minutes);
    if (values.steps !== undefined && takesSteps.has(name)) args.push('--steps', values.steps);
    const found = await run(name, machine, args);
    if (found === undefined) failed.push(name);
    else if (values.write === true) await keepResult(name, found);
  }
  if (failed.length > 0) progress(`Failed: ${failed.join(', ')}.`);
  return failed.length === 0 ? 0 : 1;
}

/** What the benchmark found, as Markdown; undefined when it failed. */
async function run(name: string, machine: string, args: readonly string[]): Promise<string | undefined> {
  const load = await loadOfOthers();
  progress(`${name}: ${benchmarks[name]}`);
  const child = spawn(process.execPath, [fileURLToPath(new URL(`${name}.js`, import.meta.url)), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0 || text === '') {
    // What a benchmark that found something wrong has to say about it.
    if (text !== '') console.log(text);
    return undefined;
  }
  const others = `${(100 * load).toFixed(0)} % of it was in use by others before`;
  const found = `${text.trim()}\n\n${machine}; ${others}.\n`;
  console.log(found);
  return found;
}
