// `submit`: a spec goes to the coordinator, the job's id comes back.
// Refuses to know what a spec may contain.
import type { Api } from '../api.js';
import type { ClientOptions } from '../client-verbs.js';
import { exitCodes } from '../exit.js';
import { printJson, printLines, tell } from '../output.js';
import { specFrom } from '../spec-file.js';
import { followToEnd } from './watch.js';

export interface SubmitOptions extends ClientOptions {
  readonly preset?: string;
  readonly set: readonly string[];
  readonly key?: string;
  readonly watch?: boolean;
}

/** Standard output holds nothing but the id (or the answer as JSON); progress goes to standard error. */
export async function submit(api: Api, file: string | undefined, options: SubmitOptions): Promise<number> {
  const spec = specFrom({ file, preset: options.preset, set: options.set });
  const job = await api.submit(spec, options.key);
  if (options.json === true) {
    printJson(job);
  } else {
    printLines([job.id]);
  }
  if (options.watch !== true) {
    tell(`Job ${job.id} is ${job.state}; follow it with: npx lockstep watch ${job.id}`);
    return exitCodes.good;
  }
  return followToEnd(api, job.id, process.stderr);
}
