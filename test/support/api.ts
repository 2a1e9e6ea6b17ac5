// What tests ask of a coordinator over REST, and its events as something to wait for.
// Refuses to use the CLI's client: what users script against is tried as they would use it.
import type {
  AuditReport,
  CheckpointView,
  JobAction,
  JobView,
  SeriesPoints,
  WorkerView,
} from '../../apps/coordinator/src/jobs/ports.js';

export interface ApiRequest {
  readonly method?: string;
  /** Sent as JSON, a string as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Undefined: the client's own; null: none. */
  readonly token?: string | null;
  readonly signal?: AbortSignal;
}

/** An answer read whole. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Undefined where the body is no JSON. */
  readonly json: unknown;
}

export interface StreamEvent {
  readonly id: string | undefined;
  readonly type: string;
  readonly data: unknown;
}

/** An RFC 9457 problem document. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

const waitMs = 90_000;
/** After an event stream broke, as browsers do it. */
const reconnectMs = 200;

export class TestApi {
  constructor(
    readonly url: string,
    private readonly token?: string,
  ) {}

  /** Any request; never throws for a status. */
  async request(path: string, request: ApiRequest = {}): Promise<ApiAnswer> {
    const response = await this.open(path, request);
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: parsed(text) };
  }

  /** The response, its body not yet read. */
  async open(path: string, request: ApiRequest = {}): Promise<Response> {
    const { method = 'GET', body, signal } = request;
    const token = request.token === undefined ? this.token : request.token;
    const headers: Record<string, string> = { ...request.headers };
    if (typeof token === 'string') headers['authorization'] = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] ??= 'application/json';
    return await fetch(this.url + path, {
      method,
      headers,
      signal: signal ?? AbortSignal.timeout(30_000),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  }

  /** A body that must come with `status`; throws with what came instead. */
  async expect<T>(status: number, path: string, request: ApiRequest = {}): Promise<T> {
    const answer = await this.request(path, request);
    if (answer.status !== status) {
      throw new Error(`${request.method ?? 'GET'} ${path} gave ${answer.status}, not ${status}: ${answer.text}`);
    }
    return answer.json as T;
  }

  /** The new job's id. */
  async submit(spec: object): Promise<string> {
    return (await this.expect<{ id: string }>(201, '/api/v1/jobs', { method: 'POST', body: spec })).id;
  }

  async job(id: string): Promise<JobView> {
    return await this.expect(200, `/api/v1/jobs/${id}`);
  }

  async act(id: string, action: JobAction): Promise<JobView> {
    return await this.expect(202, `/api/v1/jobs/${id}/${action}`, { method: 'POST' });
  }

  async audit(id: string): Promise<AuditReport> {
    return await this.expect(200, `/api/v1/jobs/${id}/audit`);
  }

  async checkpoints(id: string): Promise<CheckpointView[]> {
    return (await this.expect<{ checkpoints: CheckpointView[] }>(200, `/api/v1/jobs/${id}/checkpoints`)).checkpoints;
  }

  async metrics(id: string, query = ''): Promise<Record<string, SeriesPoints>> {
    return (await this.expect<{ series: Record<string, SeriesPoints> }>(200, `/api/v1/jobs/${id}/metrics${query}`))
      .series;
  }

  async ledger(id: string, query = ''): Promise<Record<string, unknown>[]> {
    const { status, text } = await this.request(`/api/v1/jobs/${id}/ledger${query}`);
    if (status !== 200) throw new Error(`the ledger gave ${status}: ${text}`);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async workers(): Promise<WorkerView[]> {
    return (await this.expect<{ workers: WorkerView[] }>(200, '/api/v1/workers')).workers;
  }

  /** Events of one connection, until it ends or the caller stops reading. */
  async *events(path: string, request: ApiRequest = {}): AsyncGenerator<StreamEvent, void, undefined> {
    const stop = new AbortController();
    const signal = request.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, request.signal]);
    try {
      const response = await this.open(path, { ...request, signal });
      if (response.status !== 200) throw new Error(`${path} gave ${response.status}: ${await response.text()}`);
      const decoder = new TextDecoder();
      let rest = '';
      for await (const chunk of response.body!) {
        const frames = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n\n');
        rest = frames.pop()!;
        for (const frame of frames) {
          const event = eventIn(frame);
          if (event !== undefined) yield event;
        }
      }
    } finally {
      stop.abort();
    }
  }

  /** The job as the first view of it that `holds`; follows its events, over restarts of the coordinator too. */
  async untilJob(id: string, holds: (job: JobView) => boolean, withinMs = waitMs): Promise<JobView> {
    let last: JobView | undefined;
    const found = await this.#follow(`/api/v1/jobs/${id}/events`, withinMs, ({ type, data }) => {
      if (type === 'snapshot') last = (data as { job: JobView }).job;
      else if (type === 'job') last = data as JobView;
      else return undefined;
      return holds(last) ? last : undefined;
    });
    if (found !== undefined) return found;
    const { spec: _, ...seen } = last ?? { spec: undefined };
    throw new Error(`job ${id} was not what was waited for within ${withinMs} ms; last seen: ${JSON.stringify(seen)}`);
  }

  /** Waits for a state; rejects at once when the job ends in another one. */
  async untilState(id: string, state: JobView['state'], withinMs = waitMs): Promise<JobView> {
    const job = await this.untilJob(id, (view) => view.state === state || hasEnded(view), withinMs);
    if (job.state !== state) throw new Error(`job ${id} is ${job.state}, not ${state}: ${job.error ?? job.reason}`);
    return job;
  }

  /** The pool as the first list of workers that `holds`. */
  async untilWorkers(holds: (workers: readonly WorkerView[]) => boolean, withinMs = waitMs): Promise<WorkerView[]> {
    const pool = new Map<string, WorkerView>();
    const found = await this.#follow('/api/v1/events', withinMs, ({ type, data }) => {
      if (type === 'snapshot') {
        pool.clear();
        for (const worker of (data as { workers: WorkerView[] }).workers) pool.set(worker.id, worker);
      } else if (type === 'worker') {
        const worker = data as WorkerView & { gone?: true };
        if (worker.gone === true) pool.delete(worker.id);
        else pool.set(worker.id, worker);
      } else return undefined;
      const workers = [...pool.values()];
      return holds(workers) ? workers : undefined;
    });
    if (found !== undefined) return found;
    throw new Error(
      `the pool was not what was waited for within ${withinMs} ms: ${JSON.stringify([...pool.values()])}`,
    );
  }

  async #follow<T>(
    path: string,
    withinMs: number,
    take: (event: StreamEvent) => T | undefined,
  ): Promise<T | undefined> {
    const deadline = AbortSignal.timeout(withinMs);
    while (!deadline.aborted) {
      try {
        for await (const event of this.events(path, { signal: deadline })) {
          const found = take(event);
          if (found !== undefined) return found;
        }
      } catch (error) {
        // A coordinator that is being started again; whoever answers with a status has something to say.
        if (!deadline.aborted && !isConnectionLoss(error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, reconnectMs));
    }
    return undefined;
  }
}

export function hasEnded({ state }: Pick<JobView, 'state'>): boolean {
  return state === 'completed' || state === 'failed' || state === 'cancelled';
}

/** What `fetch` throws when a connection cannot be made or breaks. */
function isConnectionLoss(error: unknown): boolean {
  return error instanceof TypeError;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // NDJSON, metrics, pages: the caller reads the text
  }
}

/** One frame of a stream, as our server writes them; undefined for comments and for what only sets the retry time. */
function eventIn(frame: string): StreamEvent | undefined {
  const field = (name: string): string | undefined => new RegExp(`^${name}: ?(.*)$`, 'm').exec(frame)?.[1];
  const [type, data] = [field('event'), field('data')];
  return type === undefined || data === undefined ? undefined : { id: field('id'), type, data: JSON.parse(data) };
}
