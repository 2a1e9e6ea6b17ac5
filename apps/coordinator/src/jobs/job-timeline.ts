// The timeline of a job's steps: the coordinator's own spans and those of every worker, with what is missing said.
// Refuses to know what a job is and how workers are asked.
import type { SpanRing } from '#proto/span-ring.js';
import { type ChromeTrace, chromeTrace, type ProcessSpans } from '../telemetry/chrome-trace.js';
import type { SpanRequests, WorkerSpans } from '../workers/span-requests.js';

export async function timelineOf(
  { own, workers }: { readonly own: SpanRing; readonly workers: SpanRequests },
  jobId: string,
  fromStep: number,
  toStep: number,
): Promise<ChromeTrace> {
  const mine = own.of(jobId, fromStep, toStep);
  const others = await workers.ask(jobId, fromStep, toStep);
  const notes = [
    ...keptNote('The coordinator', mine.firstWholeStep, fromStep),
    ...(mine.spans.length === 0 ? ['The coordinator has recorded nothing of these steps since it was started.'] : []),
    ...others.flatMap((one) => notesOf(one, fromStep)),
  ];
  const processes: ProcessSpans[] = [
    { name: 'coordinator', spans: mine.spans },
    ...others.flatMap(({ worker, answer }) =>
      answer === undefined || answer.spans.length === 0 ? [] : [{ name: `worker ${worker.name}`, spans: answer.spans }],
    ),
  ];
  return chromeTrace(processes, { jobId, fromStep, toStep, notes });
}

function notesOf({ worker, answer }: WorkerSpans, fromStep: number): string[] {
  const who = `Worker ${worker.name}`;
  if (answer === undefined) return [`${who} did not answer: its part is missing.`];
  const clock =
    answer.clockErrorMs === undefined
      ? `${who} does not know its clock's offset yet: its times may be shifted.`
      : `${who}: times exact to ${answer.clockErrorMs.toFixed(1)} ms against the coordinator's.`;
  return [...keptNote(who, answer.firstWholeStep, fromStep), ...(answer.spans.length === 0 ? [] : [clock])];
}

function keptNote(who: string, firstWholeStep: number, fromStep: number): string[] {
  if (firstWholeStep <= fromStep) return [];
  return [`${who} keeps the steps from ${firstWholeStep} on; what it did before is incomplete or gone.`];
}
