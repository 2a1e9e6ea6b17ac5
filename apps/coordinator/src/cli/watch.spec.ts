import { expect, it } from 'vitest';
import { jobView } from '../http/testing.js';
import type { JobView } from '../jobs/ports.js';
import type { Api } from './api.js';
import { StatusLine } from './status-line.js';
import { watchJob } from './watch.js';

/** What a watcher on a terminal of 60 characters writes while a job goes through these views. */
async function watched(views: readonly Partial<JobView>[], isTTY = true): Promise<string> {
  const frames = views.map((view) => `event: job\ndata: ${JSON.stringify(jobView('j', view))}\n\n`);
  const api = {
    job: async () => jobView('j', views[0]),
    openEvents: async () =>
      (async function* () {
        yield new TextEncoder().encode(frames.join(''));
      })(),
  } as unknown as Api;
  let text = '';
  const sink = { isTTY, columns: 60, write: (part: string) => (text += part) };
  await watchJob(api, 'j', new StatusLine(sink, { redrawMs: 0, plainMs: 0 }), new AbortController().signal);
  return text;
}

const reason = `Worker worker-1 could not get the parameters of its task, and so on for longer than a line of a terminal.`;
const views: Partial<JobView>[] = [
  { state: 'running', reason: null },
  { state: 'running', reason },
  { state: 'running', reason: `${reason} Again.` },
  { state: 'paused', reason: 'It was paused.' },
  { state: 'completed', reason: null },
];

it('says a reason whole, once, and again when the state has changed', async () => {
  const lines = (await watched(views)).split(/[\n\r]/);
  expect(lines.filter((line) => line.includes('running: Worker worker-1'))).toHaveLength(1);
  expect(lines.some((line) => line.endsWith(`running: ${reason}`))).toBe(true);
  expect(lines.filter((line) => line.endsWith('paused: It was paused.'))).toHaveLength(1);
});

it('leaves it to the lines where there is no terminal', async () => {
  const text = await watched(views, false);
  expect(text).toContain(`· ${reason}\n`);
  expect(text).not.toContain('running: Worker');
});
