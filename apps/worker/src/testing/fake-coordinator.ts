// A coordinator for specs: real gRPC servers that register, answer claims, hand out given parameters and collect contributions.
// Refuses to decide anything: specs say what is published, sent and answered, and look at what arrived.
import { EventEmitter, once } from 'node:events';
import {
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerWritableStream,
  type ServiceError,
  type status,
} from '@grpc/grpc-js';
import { reducerService } from '#proto/block-codec.js';
import { BlockCollector } from '#proto/block-collector.js';
import { blockMessage, blocksOfSlice, blockTable, copyBlock, versionChecksum } from '#proto/blocks.js';
import { serverCredentials, serverOptions } from '#proto/channel.js';
import { isIntact } from '#proto/contribution-seal.js';
import {
  type Claim,
  type DescribeJobResponse,
  type Heartbeat,
  type KernelTrial,
  Outcome,
  PoolService,
  type RegisterRequest,
  type Release,
  type ReportEvaluationRequest,
  type ReportProbeRequest,
  type SessionRequest,
  type SessionResponse,
} from '#proto/generated/lockstep/v1/pool.js';
import {
  type PullParametersRequest,
  type PullParametersResponse,
  type PushGradientRequest,
  type PushGradientResponse,
  type PushHeader,
  type PushTotals,
} from '#proto/generated/lockstep/v1/reducer.js';
import { messagesOf, writeAll } from '#proto/streams.js';

export interface FakeVersion {
  readonly parameters: Float32Array;
  readonly statistics: Float32Array;
}

/** What one slice received of one contribution. */
export interface ReceivedPush {
  readonly slice: number;
  readonly header: PushHeader;
  readonly totals: PushTotals;
  readonly gradient: Float32Array | Uint16Array;
  readonly statistics: Float32Array;
}

export interface FakeCoordinatorOptions {
  readonly job: DescribeJobResponse;
  readonly parameterCount: number;
  readonly statisticCount: number;
  readonly wire: 'float32' | 'bfloat16';
  readonly slices?: number;
  readonly queueName?: string;
  /** @default 50 */
  readonly heartbeatIntervalMs?: number;
}

type Session = ServerDuplexStream<SessionRequest, SessionResponse>;

export class FakeCoordinator {
  readonly registrations: RegisterRequest[] = [];
  readonly claims: Claim[] = [];
  readonly releases: Release[] = [];
  readonly heartbeats: Heartbeat[] = [];
  readonly evaluations: ReportEvaluationRequest[] = [];
  readonly probes: ReportProbeRequest[] = [];
  readonly kernelTrials: KernelTrial[] = [];
  /** Contributions that arrived whole, answered or not. */
  readonly pushes: ReceivedPush[] = [];
  pulls = 0;
  sessions: Session[] = [];
  /** What to answer. */
  answerClaim: (claim: Claim) => boolean = () => true;
  /** An outcome given at a push's header, before its blocks; undefined takes the push. */
  refuse: (header: PushHeader) => PushGradientResponse | undefined = () => undefined;
  /** What a probe is answered. */
  answerProbe: () => Outcome = () => Outcome.ACCEPTED;
  /** Until when a whole contribution waits for its answer. */
  answerPush: () => Promise<void> = () => Promise.resolve();
  /** A status to fail a pull with. */
  failPull: () => status | undefined = () => undefined;
  /** A status to end a pull with when its header and all blocks but the last are out. */
  breakPull: () => status | undefined = () => undefined;
  readonly #options: FakeCoordinatorOptions;
  readonly #changed = new EventEmitter().setMaxListeners(0);
  readonly #versions = new Map<string, FakeVersion>();
  readonly #servers: Server[] = [];
  #ports: number[] = [];

  constructor(options: FakeCoordinatorOptions) {
    this.#options = options;
  }

  get address(): string {
    return `127.0.0.1:${this.#ports[0]}`;
  }

  get sliceAddresses(): string[] {
    return this.#ports.slice(1).map((port) => `127.0.0.1:${port}`);
  }

  async start(port = 0): Promise<void> {
    const pool = new Server(serverOptions());
    pool.addService(PoolService, {
      register: (call: { request: RegisterRequest }, done: (error: null, answer: object) => void) => {
        this.#note(this.registrations, call.request);
        done(null, {
          workerId: `w${this.registrations.length}`,
          classId: 'class',
          queueName: this.#options.queueName ?? 'tasks',
          queuePrefix: 'fake',
          reducerAddresses: this.sliceAddresses,
          heartbeatIntervalMs: this.#options.heartbeatIntervalMs ?? 50,
        });
      },
      session: (stream: Session) => this.#onSession(stream),
      describeJob: (_: unknown, done: (error: null, answer: object) => void) => done(null, this.#options.job),
      reportEvaluation: (call: { request: ReportEvaluationRequest }, done: (error: null, answer: object) => void) => {
        this.#note(this.evaluations, call.request);
        done(null, { outcome: Outcome.ACCEPTED, detail: '' });
      },
      reportProbe: (call: { request: ReportProbeRequest }, done: (error: null, answer: object) => void) => {
        this.#note(this.probes, call.request);
        done(null, { outcome: this.answerProbe(), detail: 'a probe' });
      },
    });
    this.#ports = [await bind(pool, port)];
    this.#servers.push(pool);
    for (let slice = 0; slice < (this.#options.slices ?? 1); slice++) {
      const server = new Server(serverOptions());
      server.addService(reducerService, {
        pullParameters: (call: ServerWritableStream<PullParametersRequest, PullParametersResponse>) =>
          void this.#onPull(slice, call),
        pushGradient: (
          call: ServerReadableStream<PushGradientRequest, PushGradientResponse>,
          done: (error: Partial<ServiceError> | null, answer?: PushGradientResponse) => void,
        ) => void this.#onPush(slice, call).then((answer) => done(null, answer), ignoreBrokenStream),
      });
      this.#ports.push(await bind(server, 0));
      this.#servers.push(server);
    }
  }

  /** Cuts every connection. */
  stop(): void {
    for (const server of this.#servers.splice(0)) server.forceShutdown();
    this.sessions = [];
  }

  publish(jobId: string, lineage: number, version: number, values: FakeVersion): void {
    this.#versions.set(`${jobId}/${lineage}/${version}`, values);
    this.#changed.emit('change');
  }

  say(message: NonNullable<SessionResponse['message']>): void {
    for (const session of this.sessions) session.write({ message });
  }

  /** Resolves when `condition` holds; it is looked at whenever something arrives. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#changed, 'change');
  }

  #note<T>(list: T[], item: T): void {
    list.push(item);
    this.#changed.emit('change');
  }

  #onSession(stream: Session): void {
    stream.on('error', ignoreBrokenStream);
    stream.on('data', ({ message }: SessionRequest) => {
      if (message?.$case === 'hello') this.#note(this.sessions, stream);
      if (message?.$case === 'heartbeat') this.#note(this.heartbeats, message.value);
      if (message?.$case === 'kernelTrial') this.#note(this.kernelTrials, message.value);
      if (message?.$case === 'release') this.#note(this.releases, message.value);
      if (message?.$case === 'claim') {
        const go = this.answerClaim(message.value);
        stream.write({ message: { $case: 'claimAnswer', value: { ...message.value, go } } });
        this.#note(this.claims, message.value);
      }
    });
    stream.on('end', () => stream.end());
  }

  async #onPull(
    slice: number,
    call: ServerWritableStream<PullParametersRequest, PullParametersResponse>,
  ): Promise<void> {
    this.pulls += 1;
    this.#changed.emit('change');
    const failure = this.failPull();
    if (failure !== undefined) return void call.emit('error', { code: failure, details: 'the spec says so' });
    const name = call.request.version!;
    const id = `${name.jobId}/${name.lineage}/${name.version}`;
    await this.until(() => this.#versions.has(id) || call.cancelled);
    if (call.cancelled) return;
    const version = this.#versions.get(id)!;
    const blocks = this.#table().map((range) => blockMessage(version[range.region], range));
    const checksum = versionChecksum(blocks.map((block) => block.checksum));
    const own = blocksOfSlice(this.#table(), slice, this.#options.slices ?? 1);
    const messages: PullParametersResponse[] = [
      { message: { $case: 'header', value: { version: { ...name, checksum }, blocks: own.length, segment: '' } } },
      ...own.map(({ index }): PullParametersResponse => ({ message: { $case: 'block', value: blocks[index]! } })),
      { message: { $case: 'end', value: {} } },
    ];
    const broken = this.breakPull();
    if (broken !== undefined) messages.splice(-2);
    const finish = (): unknown =>
      broken === undefined ? call.end() : call.emit('error', { code: broken, details: 'the spec breaks off' });
    await writeAll(call, messages, { call: 'PullParameters', peer: 'spec' }).then(finish, ignoreBrokenStream);
  }

  async #onPush(
    slice: number,
    call: ServerReadableStream<PushGradientRequest, PushGradientResponse>,
  ): Promise<PushGradientResponse> {
    const { parameterCount, statisticCount, wire } = this.#options;
    const own = blocksOfSlice(this.#table(), slice, this.#options.slices ?? 1);
    const collector = new BlockCollector(own, wire === 'bfloat16' ? 2 : 4);
    const gradient = wire === 'bfloat16' ? new Uint16Array(parameterCount) : new Float32Array(parameterCount);
    const statistics = new Float32Array(statisticCount);
    let header: PushHeader | undefined;
    for await (const { message } of messagesOf<PushGradientRequest>(call, { call: 'PushGradient', peer: 'spec' })) {
      if (message?.$case === 'header') {
        header = message.value;
        const refusal = this.refuse(header);
        if (refusal !== undefined) return refusal;
      } else if (message?.$case === 'block') {
        const verdict = collector.accept(message.value);
        if (!verdict.ok) return { outcome: Outcome.CHECKSUM_MISMATCH, detail: verdict.detail };
        copyBlock(message.value.data, verdict.range.region === 'parameters' ? gradient : statistics, verdict.range);
      } else if (message?.$case === 'end' && header !== undefined) {
        if (!isIntact(header, message.value) || collector.missing > 0) {
          return { outcome: Outcome.INCOMPLETE, detail: '' };
        }
        this.#note(this.pushes, { slice, header, totals: message.value.totals!, gradient, statistics });
        await this.answerPush();
        return { outcome: Outcome.ACCEPTED, detail: '' };
      }
    }
    return { outcome: Outcome.INCOMPLETE, detail: '' };
  }

  #table() {
    return blockTable(this.#options.parameterCount, this.#options.statisticCount);
  }
}

/** Clients that go away in the middle are what specs are about. */
function ignoreBrokenStream(): void {}

function bind(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${port}`, serverCredentials(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
}
