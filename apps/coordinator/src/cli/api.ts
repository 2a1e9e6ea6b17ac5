// The coordinator's REST interface as the commands call it, and how its refusals read.
// Refuses to know what is done with the answers; streams of events are `events.ts`'s.
import type { AuditReport, CheckpointView, JobAction, JobState, JobsPort, JobView, WorkerView } from '../jobs/ports.js';
import type { ClientSettings } from './client-settings.js';
import { CommandFailed, exitCodes } from './exit.js';

/** Nobody waits longer for an answer; submitting writes the initial state of a large model first. */
const REQUEST_TIMEOUT_MS = 60_000;

/** The coordinator answered and refused. `status` is HTTP's. */
export class ApiError extends CommandFailed {
  override readonly name = 'ApiError';
  override readonly exitCode: number;

  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
    // What the user wrote was wrong (a spec, a query), as opposed to what the coordinator could not do.
    this.exitCode = status === 400 || status === 422 ? exitCodes.usage : exitCodes.failed;
  }
}

/** No answer at all. */
export class CoordinatorUnreachable extends CommandFailed {
  override readonly name = 'CoordinatorUnreachable';
}

export interface JobPage {
  readonly jobs: readonly JobView[];
  readonly nextCursor: string | null;
}

/** One coordinator. Every call throws `ApiError` or `CoordinatorUnreachable`. */
export class Api {
  constructor(private readonly settings: ClientSettings) {}

  get baseUrl(): string {
    return this.settings.baseUrl;
  }

  /** `idempotencyKey`: the same key gives the same job again. */
  async submit(spec: unknown, idempotencyKey?: string): Promise<Pick<JobView, 'id' | 'state' | 'spec'>> {
    return this.call('POST', '/jobs', spec, idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey });
  }

  async job(id: string): Promise<JobView> {
    return this.call('GET', `/jobs/${encodeURIComponent(id)}`);
  }

  /** Newest first, following pages until `limit` jobs are there. */
  async jobs(query: { readonly state?: JobState | undefined; readonly limit: number }): Promise<JobPage> {
    const jobs: JobView[] = [];
    let cursor: string | null = null;
    do {
      const search = new URLSearchParams({ limit: String(Math.min(100, query.limit - jobs.length)) });
      if (query.state !== undefined) {
        search.set('state', query.state);
      }
      if (cursor !== null) {
        search.set('cursor', cursor);
      }
      const page: JobPage = await this.call('GET', `/jobs?${search.toString()}`);
      jobs.push(...page.jobs);
      cursor = page.nextCursor;
    } while (cursor !== null && jobs.length < query.limit);
    return { jobs, nextCursor: cursor };
  }

  /** Answers with what the coordinator made of it, as far as it says so. */
  async act(id: string, action: JobAction, { repin = false } = {}): Promise<unknown> {
    return this.call('POST', `/jobs/${encodeURIComponent(id)}/${action}${repin ? '?repin=true' : ''}`);
  }

  /** Deletes an ended job and its files. */
  async remove(id: string): Promise<void> {
    await this.call('DELETE', `/jobs/${encodeURIComponent(id)}`);
  }

  async checkpoints(id: string): Promise<readonly CheckpointView[]> {
    const { checkpoints } = await this.call<{ readonly checkpoints: readonly CheckpointView[] }>(
      'GET',
      `/jobs/${encodeURIComponent(id)}/checkpoints`,
    );
    return checkpoints;
  }

  async audit(id: string): Promise<AuditReport> {
    return this.call('GET', `/jobs/${encodeURIComponent(id)}/audit`);
  }

  /** What coordinator and workers did for the steps [from, to]. */
  async timeline(id: string, from: number, to: number): ReturnType<JobsPort['timeline']> {
    return this.call('GET', `/jobs/${encodeURIComponent(id)}/timeline?from=${from}&to=${to}`);
  }

  async workers(): Promise<readonly WorkerView[]> {
    const answer: readonly WorkerView[] | { readonly workers: readonly WorkerView[] } = await this.call(
      'GET',
      '/workers',
    );
    return 'workers' in answer ? answer.workers : answer;
  }

  async drain(workerId: string): Promise<unknown> {
    return this.call('POST', `/workers/${encodeURIComponent(workerId)}/drain`);
  }

  /** Opens a stream of server-sent events; its chunks come as the coordinator writes them, until `signal` aborts. */
  async openEvents(
    path: string,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.request('GET', path, undefined, signal, {
      accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    });
    if (response.body === null) {
      throw new CoordinatorUnreachable(
        `${this.baseUrl} answered ${path} with nothing; is this a Lockstep coordinator?`,
      );
    }
    return response.body;
  }

  private async call<Answer>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await this.request(method, path, body, signal, { accept: 'application/json', ...headers });
    const text = await response.text();
    if (text === '') {
      return undefined as Answer;
    }
    try {
      return JSON.parse(text) as Answer;
    } catch (error) {
      const message = `${this.baseUrl}${API_PREFIX}${path} did not answer with JSON; is this a Lockstep coordinator?`;
      throw new CommandFailed(message, { cause: error });
    }
  }

  private async request(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal,
    headers: Record<string, string>,
  ): Promise<Response> {
    const init: RequestInit = { method, signal, headers: { ...headers } };
    const all = init.headers as Record<string, string>;
    if (this.settings.token !== undefined) {
      all['authorization'] = `Bearer ${this.settings.token}`;
    }
    if (body !== undefined) {
      all['content-type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    let response: Response;
    try {
      response = await fetch(`${this.baseUrl}${API_PREFIX}${path}`, init);
    } catch (error) {
      throw this.unreachable(error, signal);
    }
    if (!response.ok) {
      throw new ApiError(refusalText(response.status, await response.text().catch(() => '')), response.status);
    }
    return response;
  }

  private unreachable(error: unknown, signal: AbortSignal): CoordinatorUnreachable {
    if (signal.aborted) {
      return new CoordinatorUnreachable(`The coordinator at ${this.baseUrl} did not answer in time.`, { cause: error });
    }
    const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
    const detail = code === undefined || code === 'ECONNREFUSED' ? '' : ` (${code})`;
    return new CoordinatorUnreachable(
      `No coordinator answers at ${this.baseUrl}${detail}; start one with \`npx lockstep up\` or name another with --url.`,
      { cause: error },
    );
  }
}

const API_PREFIX = '/api/v1';

/** A problem document as sentences: one per field that is wrong, else its detail. */
export function refusalText(status: number, body: string): string {
  const problem = parsedProblem(body);
  const lines = (problem?.errors ?? []).map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  if (lines.length === 0) {
    lines.push(problem?.detail ?? problem?.title ?? `The coordinator answered with status ${status}.`);
  }
  if (status === 401) {
    lines.push('Set LOCKSTEP_API_TOKEN to a token that the coordinator knows.');
  }
  return lines.join('\n');
}

interface Problem {
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

function parsedProblem(body: string): Problem | undefined {
  try {
    const value = JSON.parse(body) as unknown;
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    // A proxy's page or nothing: the status alone has to do.
    return undefined;
  }
}
