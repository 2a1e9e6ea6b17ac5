// `timeline`: keeps a trace of some steps of a job in a file and says what is in it.
// Refuses to know what a trace is made of.
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { TimelineFacts } from '../../jobs/ports.js';
import type { Api } from '../api.js';
import type { ClientOptions } from '../client-verbs.js';
import { CommandFailed, exitCodes, WrongUsage } from '../exit.js';
import { formatCount } from '../format.js';
import { printJson, printLines } from '../output.js';

export interface TimelineOptions extends ClientOptions {
  /** `A-B` or a single step. @default the newest that are done, up to 5 */
  readonly steps?: string;
  readonly out?: string;
}

/** Steps that are taken where none are named. */
const NEWEST = 5;

interface Trace {
  readonly traceEvents: readonly { readonly ph: string; readonly args: { readonly step?: number } }[];
  readonly otherData: TimelineFacts;
}

/** 0 when the file has something of the steps that were asked for. */
export async function timeline(api: Api, id: string, options: TimelineOptions): Promise<number> {
  const [from, to] = options.steps === undefined ? newestSteps((await api.job(id)).step) : stepRange(options.steps);
  const out = options.out ?? `timeline-${id}-${from}-${to}.json`;
  const trace: Trace = await api.timeline(id, from, to);
  const { notes } = trace.otherData;
  const steps = new Set(trace.traceEvents.filter(({ ph }) => ph === 'X').map(({ args }) => args.step));
  if (steps.size === 0) {
    throw new CommandFailed([`Nothing is known any more of these steps of job ${id}.`, ...notes].join('\n'));
  }
  await write(out, trace);
  if (options.json === true) printJson({ file: out, steps: steps.size, events: trace.traceEvents.length, notes });
  else
    printLines([
      `${out}: ${formatCount(steps.size)} ${steps.size === 1 ? 'step' : 'steps'}; open it at ui.perfetto.dev or chrome://tracing`,
      ...notes,
    ]);
  return exitCodes.good;
}

/** Steps count from 0, as in the ledger. @throws WrongUsage */
export function stepRange(text: string): readonly [from: number, to: number] {
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(text);
  const from = Number(match?.[1]);
  const to = Number(match?.[2] ?? match?.[1]);
  if (match === null || from > to) throw new WrongUsage(`--steps ${text}: write it as A-B, such as --steps 10-14.`);
  return [from, to];
}

/** The last few of so many steps that are done; step 0 while none is. */
export function newestSteps(done: number): readonly [from: number, to: number] {
  return [Math.max(0, done - NEWEST), Math.max(0, done - 1)];
}

async function write(path: string, trace: Trace): Promise<void> {
  const head = JSON.stringify({ displayTimeUnit: 'ms', otherData: trace.otherData }).slice(0, -1);
  const events = trace.traceEvents;
  function* lines(): Generator<string> {
    yield `${head},"traceEvents":[\n`;
    for (const [index, event] of events.entries())
      yield `${JSON.stringify(event)}${index + 1 < events.length ? ',' : ''}\n`;
    yield ']}\n';
  }
  try {
    await pipeline(lines, createWriteStream(path));
  } catch (error) {
    await rm(path, { force: true }).catch(() => undefined);
    throw new CommandFailed(`${path} cannot be written: ${(error as Error).message}.`, { cause: error });
  }
}
