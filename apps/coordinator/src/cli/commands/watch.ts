// `watch`: a job's progress until it ends, or until Ctrl-C, which leaves the job alone.
// Refuses to know how progress is drawn.
import type { Api } from '../api.js';
import type { ClientOptions } from '../client-verbs.js';
import { exitCodes } from '../exit.js';
import { interruption } from '../interruption.js';
import { tell } from '../output.js';
import { endText, hasEnded } from '../progress.js';
import { type LineSink, StatusLine } from '../status-line.js';
import { jobViews, watchJob } from '../watch.js';

export async function watch(api: Api, id: string, options: ClientOptions): Promise<number> {
  return options.json === true ? followAsJson(api, id) : followToEnd(api, id, process.stdout);
}

/** 0 when it completed, 1 when it failed or was cancelled, 130 when the user left before. */
export async function followToEnd(api: Api, id: string, sink: LineSink): Promise<number> {
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const line = new StatusLine(sink);
  try {
    const job = await watchJob(api, id, line, stop.signal);
    if (job === undefined) {
      return detached(id);
    }
    line.note(endText(job));
    return job.state === 'completed' ? exitCodes.good : exitCodes.failed;
  } catch (error) {
    line.end();
    throw error;
  } finally {
    stop.release();
  }
}

async function followAsJson(api: Api, id: string): Promise<number> {
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  try {
    for await (const job of jobViews(api, id, stop.signal)) {
      process.stdout.write(`${JSON.stringify(job)}\n`);
      if (hasEnded(job)) {
        return job.state === 'completed' ? exitCodes.good : exitCodes.failed;
      }
    }
    return detached(id);
  } finally {
    stop.release();
  }
}

function detached(id: string): number {
  tell(`Job ${id} goes on without you; come back with: npx lockstep watch ${id}`);
  return exitCodes.interrupted;
}
