// `jobs`, `show`, `pause`, `resume`, `checkpoint`, `cancel`, `delete`: jobs as tables and blocks of text.
// Refuses to know how they are stored and run.
import { stringify } from 'yaml';
import type { CheckpointView, JobAction, JobState, JobView } from '../../jobs/ports.js';
import { formatBytes } from '../../setup/progress.js';
import type { Api } from '../api.js';
import type { ClientOptions } from '../client-verbs.js';
import { exitCodes } from '../exit.js';
import { formatCount, formatDuration, formatLoss, formatRate, formatShare, formatTime } from '../format.js';
import { outputWidth, printJson, printLines, tell } from '../output.js';
import { evaluationText } from '../progress.js';
import { type Column, renderFields, renderTable } from '../table.js';

const columns: readonly Column[] = [
  { title: 'ID' },
  { title: 'NAME', shrinkTo: 8 },
  { title: 'STATE' },
  { title: 'STEP', align: 'right' },
  { title: 'LOSS', align: 'right' },
  { title: 'TEST', align: 'right' },
  { title: 'IMAGES/S', align: 'right' },
  { title: 'LEFT', align: 'right' },
  { title: 'CREATED' },
  { title: 'REASON', shrinkTo: 8 },
];

export interface ListOptions extends ClientOptions {
  readonly state?: JobState;
  readonly limit: number;
}

export async function listJobs(api: Api, options: ListOptions): Promise<number> {
  const page = await api.jobs({ state: options.state, limit: options.limit });
  if (options.json === true) {
    printJson(page);
    return exitCodes.good;
  }
  printLines(renderTable(columns, page.jobs.map(rowOf), outputWidth()));
  if (page.jobs.length === 0) {
    tell('No jobs. Submit one with: npx lockstep submit --preset resnet20-cifar10-demo');
  } else if (page.nextCursor !== null) {
    tell(`There are more; see them with --limit ${options.limit * 2}.`);
  }
  return exitCodes.good;
}

function rowOf(job: JobView): string[] {
  return [
    job.id,
    job.name,
    job.state,
    `${formatCount(job.step)}/${formatCount(job.totalSteps)}`,
    formatLoss(job.loss),
    formatShare(job.test?.top1),
    formatRate(job.imagesPerSecond),
    job.state === 'running' ? formatDuration(job.etaSeconds) : '–',
    formatTime(job.createdAt),
    job.error ?? job.reason ?? '',
  ];
}

export async function showJob(api: Api, id: string, options: ClientOptions): Promise<number> {
  const job = await api.job(id);
  if (options.json === true) {
    printJson(job);
  } else {
    printLines(renderFields(fieldsOf(job)));
  }
  return exitCodes.good;
}

/** Name and value of each line; what is not known yet is left out. */
function fieldsOf(job: JobView): (readonly [string, string])[] {
  const known = (name: string, value: string | null | undefined): (readonly [string, string])[] =>
    value === null || value === undefined || value === '–' ? [] : [[name, value]];
  return [
    ['job', job.id],
    ['name', job.name],
    ['state', job.state],
    ...known('reason', job.reason),
    ...known('note', job.note),
    ...known('error', job.error),
    ['step', `${formatCount(job.step)} of ${formatCount(job.totalSteps)}`],
    ...known('training', job.loss === null ? null : `loss ${formatLoss(job.loss)}, accuracy ${formatShare(job.top1)}`),
    ...known('evaluation', evaluationText(job)),
    ...known('images/s', formatRate(job.imagesPerSecond)),
    ...known('time left', job.state === 'running' ? formatDuration(job.etaSeconds) : null),
    ...known('workers', job.workers.join(', ') || null),
    ['useful workers', `${formatCount(job.usefulWorkers)} (tasks per step)`],
    ['parameters', formatCount(job.parameterCount)],
    ...known('numerics class', job.numericsClass),
    ...known('kernels', job.kernels),
    ...known('checkpoint', job.checkpoint?.path),
    ...known('parametersSha256', job.parametersSha256),
    ...known('stateSha256', job.stateSha256),
    ['created', formatTime(job.createdAt)],
    ...known('started', formatTime(job.startedAt)),
    ...known('ended', formatTime(job.endedAt)),
    ['spec', stringify(job.spec).trimEnd()],
  ];
}

const told: Readonly<Record<JobAction, string>> = {
  pause: 'will pause',
  resume: 'goes on',
  cancel: 'is being cancelled',
  checkpoint: 'writes a checkpoint after its present step',
};

export async function act(
  api: Api,
  id: string,
  action: JobAction,
  options: ClientOptions & { readonly repin?: boolean },
): Promise<number> {
  const answer = await api.act(id, action, { repin: options.repin === true });
  if (options.json === true) {
    printJson(answer ?? (await api.job(id)));
  } else {
    tell(`Job ${id} ${told[action]}.`);
    if (action === 'cancel') tell(keptText(id, await api.checkpoints(id)));
  }
  return exitCodes.good;
}

/** What a cancelled job leaves on the coordinator's disk. */
export function keptText(id: string, checkpoints: readonly Pick<CheckpointView, 'files'>[]): string {
  const bytes = checkpoints.flatMap(({ files }) => files).reduce((sum, file) => sum + file.bytes, 0);
  const kept = bytes === 0 ? 'Its files stay' : `Its checkpoints keep ${formatBytes(bytes)}`;
  return `${kept}; \`npx lockstep delete ${id}\` removes them.`;
}

export async function deleteJob(api: Api, id: string, options: ClientOptions): Promise<number> {
  await api.remove(id);
  if (options.json === true) printJson({ id, deleted: true });
  else tell(`Job ${id} and its files are deleted.`);
  return exitCodes.good;
}
