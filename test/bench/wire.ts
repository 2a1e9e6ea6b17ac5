// How fast parameters and gradients cross the wire: 241 MB each way between two processes over loopback, with Lockstep's
// channels and with grpc-js as it comes. Each side of each variant is a process of its own, as settings would leak.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { blockMessage, blockTable, copyBlock } from '#proto/blocks.js';
import { BlockCollector } from '#proto/block-collector.js';
import { openReducer, reducerService } from '#proto/block-codec.js';
import { pullStream, pushStream } from '#proto/calls.js';
import { channelOptions, clientCredentials, serverCredentials, serverOptions } from '#proto/channel.js';
import {
  ReducerClient,
  type PushGradientRequest,
  type PullParametersResponse,
  type ReducerServer,
  ReducerService,
  WireType,
} from '#proto/generated/lockstep/v1/reducer.js';
import { Outcome } from '#proto/generated/lockstep/v1/pool.js';
import { messagesOf, writeAll } from '#proto/streams.js';
import { formatted, printTable, quantile } from './table.js';

/** ResNet-152. */
const parameterCount = 60_192_808;
const table = blockTable(parameterCount, 0);
const megabytes = (parameterCount * 4) / 1e6;
const repetitions = 6;

const variants = ['grpc-js as it comes', 'Lockstep'] as const;
type Variant = (typeof variants)[number];
const directions = ['push', 'pull'] as const;
type Direction = (typeof directions)[number];

/** Runs every variant and prints the table: seconds are the median of the repetitions after one that warms up. */
async function compare(): Promise<void> {
  const seconds = new Map<Variant, Record<Direction, number>>();
  for (const each of variants) seconds.set(each, await measure(each));
  const secondsOf = (each: Variant, direction: Direction): number => seconds.get(each)?.[direction] ?? Number.NaN;
  printTable({
    title: `Wire: ${megabytes.toFixed(0)} MB of float32 (ResNet-152) in blocks of 1 MiB with CRC32C, two processes, loopback`,
    columns: ['', 'push s', 'push MB/s', 'pull s', 'pull MB/s'],
    rows: variants.map((each) => [
      each,
      ...directions.flatMap((direction) => {
        const time = secondsOf(each, direction);
        return [formatted(time, 3), formatted(megabytes / time, 0)];
      }),
    ]),
    notes: [`Medians of ${repetitions - 1} transfers after one that warms up.`],
  });
}

/** Median seconds of a transfer each way, between two processes of one variant. */
async function measure(each: Variant): Promise<Record<Direction, number>> {
  const server = fork(import.meta.filename, ['serve', each]);
  process.once('exit', () => server.kill());
  const port = await firstMessage<number>(server);
  const client = fork(import.meta.filename, ['call', each, `127.0.0.1:${port}`]);
  const times = await firstMessage<Record<Direction, number[]>>(client);
  server.kill();
  return { push: quantile(times.push.slice(1), 0.5), pull: quantile(times.pull.slice(1), 0.5) };
}

/** The first message of a child process; throws when it ends without one. */
async function firstMessage<T>(child: ChildProcess): Promise<T> {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`A process of this benchmark ended with exit code ${code}.`);
  });
  const [message] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => undefined);
  return message as T;
}

async function serve(which: Variant): Promise<void> {
  const parameters = shared();
  parameters.fill(0.5);
  const gradient = shared();
  const ours = which === 'Lockstep';
  const server = ours ? new Server(serverOptions()) : new Server();
  const implementation: ReducerServer = {
    pullParameters: (stream) => {
      void writeAll(stream, blocksOf<PullParametersResponse>(parameters), site).then(() => stream.end());
    },
    pushGradient: (stream, done) => {
      void receive(messagesOf<PushGradientRequest>(stream, site), gradient).then(() =>
        done(null, { outcome: Outcome.ACCEPTED, detail: '' }),
      );
    },
  };
  server.addService(ours ? reducerService : ReducerService, implementation);
  server.bindAsync('127.0.0.1:0', ours ? serverCredentials() : ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.send?.(port);
  });
  process.on('disconnect', () => process.exit());
}

async function call(which: Variant, target: string): Promise<void> {
  const client =
    which === 'Lockstep'
      ? openReducer(target, clientCredentials(), channelOptions())
      : new ReducerClient(target, clientCredentials());
  const gradient = shared();
  gradient.fill(0.25);
  const parameters = shared();
  const limits = { deadlineMs: 60_000 };
  const times: Record<Direction, number[]> = { push: [], pull: [] };
  for (let repetition = 0; repetition <= repetitions; repetition++) {
    let start = performance.now();
    await pushStream(site, limits, (options, done) => client.pushGradient(options, done), pushMessages(gradient));
    times.push.push((performance.now() - start) / 1000);
    start = performance.now();
    const request = { version: undefined, layoutHash: '', parameterType: WireType.FLOAT32, sharedMemory: false };
    await receive(
      pullStream(site, limits, (options) => client.pullParameters(request, options)),
      parameters,
    );
    times.pull.push((performance.now() - start) / 1000);
  }
  client.close();
  process.send?.(times);
  process.disconnect();
}

const site = { call: 'Reducer', peer: 'the other process of this benchmark' };

function shared(): Float32Array {
  return new Float32Array(new SharedArrayBuffer(parameterCount * 4));
}

function* blocksOf<Message>(array: Float32Array): Generator<Message> {
  for (const range of table) yield { message: { $case: 'block', value: blockMessage(array, range) } } as Message;
}

function* pushMessages(gradient: Float32Array): Generator<PushGradientRequest> {
  const header = { workerId: 'bench', key: undefined, attempt: 1, version: undefined, layoutHash: '', blocks: 0 };
  yield { message: { $case: 'header', value: { ...header, wireType: WireType.FLOAT32, segment: '' } } };
  yield* blocksOf<PushGradientRequest>(gradient);
}

/** Checks and keeps what arrives, as reducer and worker do. */
async function receive(
  messages: AsyncIterable<PushGradientRequest | PullParametersResponse>,
  target: Float32Array,
): Promise<void> {
  const collector = new BlockCollector(table, 4);
  for await (const { message } of messages) {
    if (message?.$case !== 'block') continue;
    const verdict = collector.accept(message.value);
    if (!verdict.ok) throw new Error(verdict.detail);
    copyBlock(message.value.data, target, verdict.range);
  }
  if (collector.missing > 0) throw new Error(`${collector.missing} blocks did not arrive.`);
}

const [role, variant, address] = process.argv.slice(2);
if (role === 'serve') await serve(variant as Variant);
else if (role === 'call') await call(variant as Variant, address ?? '');
else if (role === 'rates') {
  // For cost-model.ts: bytes per second of Lockstep's channels.
  const { push, pull } = await measure('Lockstep');
  console.log(JSON.stringify({ push: (parameterCount * 4) / push, pull: (parameterCount * 4) / pull }));
} else await compare();
