import { createRequire } from 'node:module';
import { once } from 'node:events';
import type * as http2Types from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { type CallLimits, pullStream, pushStream } from './calls.js';
import { callMetadata } from './channel.js';
import {
  type PullParametersResponse,
  type PushGradientRequest,
  type PushGradientResponse,
  type ReducerClient,
  WireType,
} from './generated/lockstep/v1/reducer.js';
import { frameBytes, installHttp2Settings, sessionWindowBytes, streamWindowBytes } from './http2-settings.js';
import {
  blocks,
  type Handlers,
  loopback,
  type Loopback,
  type Proxy,
  type PushStream,
  tcpProxy,
} from './loopback.fixture.js';
import { messagesOf, writeAll } from './streams.js';
import { WireError } from './wire-error.js';

const site = { call: 'Reducer.PushGradient', peer: '127.0.0.1', task: 'train task 1 of step 12 of job J1' };
const limits = { deadlineMs: 20_000 };
const open: (Loopback | Proxy)[] = [];

async function start(handlers: Handlers, token?: string): Promise<Loopback> {
  const server = await loopback(handlers, token);
  open.push(server);
  return server;
}

async function startProxy(port: number): Promise<Proxy> {
  const proxy = await tcpProxy(port);
  open.push(proxy);
  return proxy;
}

afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function countBlocks(messages: AsyncIterable<PushGradientRequest | PullParametersResponse>): Promise<string> {
  let bytes = 0;
  for await (const { message } of messages) if (message?.$case === 'block') bytes += message.value.data.byteLength;
  return String(bytes);
}

function push(
  client: ReducerClient,
  messages: Iterable<PushGradientRequest> | AsyncIterable<PushGradientRequest>,
  more: Partial<CallLimits> = {},
  token?: string,
): Promise<PushGradientResponse> {
  return pushStream<PushGradientRequest, PushGradientResponse>(
    site,
    { ...limits, ...more },
    (options, done) => client.pushGradient(callMetadata(token), options, done),
    messages,
  );
}

function pull(client: ReducerClient, more: Partial<CallLimits> = {}): AsyncIterable<PullParametersResponse> {
  const request = { version: undefined, layoutHash: '', parameterType: WireType.FLOAT32, sharedMemory: false };
  return pullStream(site, { ...limits, ...more }, (options) => client.pullParameters(request, options));
}

/**
 * What the server's side of a push saw: 'whole' only when the message came that says so, as grpc-js may report the end of
 * messages before it notices that a call was cancelled or cut.
 */
interface Reception {
  readonly handlers: Handlers;
  readonly blocks: () => number;
  readonly outcome: () => 'open' | 'whole' | 'incomplete';
}

function reception(): Reception {
  let count = 0;
  let outcome: 'open' | 'whole' | 'incomplete' = 'open';
  const receive = async (stream: PushStream): Promise<string> => {
    let whole = false;
    try {
      for await (const { message } of messagesOf<PushGradientRequest>(stream, site)) {
        if (message?.$case === 'block') count += 1;
        whole ||= message?.$case === 'end';
      }
    } finally {
      outcome = whole ? 'whole' : 'incomplete';
    }
    return outcome;
  };
  return { handlers: { push: receive }, blocks: () => count, outcome: () => outcome };
}

/** The WireError that `call` fails with. */
async function failure(call: Promise<unknown>): Promise<WireError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WireError);
  return error as WireError;
}

describe('HTTP/2 settings', () => {
  it('are announced by the sessions of client and server that grpc-js opens', async () => {
    const http2 = createRequire(import.meta.url)('node:http2') as typeof http2Types;
    installHttp2Settings();
    const { connect, createServer } = http2;
    const sessions: { client?: http2Types.ClientHttp2Session; server?: http2Types.ServerHttp2Session } = {};
    http2.connect = ((...args: Parameters<typeof connect>) => (sessions.client = connect(...args))) as typeof connect;
    http2.createServer = ((...args: Parameters<typeof createServer>) => {
      const server: http2Types.Http2Server = createServer(...args);
      return server.on('session', (session) => (sessions.server = session));
    }) as typeof createServer;
    try {
      const server = await start({ push: (stream) => countBlocks(messagesOf(stream, site)) });
      const client = server.client();
      await push(client, blocks(2));
    } finally {
      Object.assign(http2, { connect, createServer });
    }
    for (const session of [sessions.client, sessions.server]) {
      const seen = session?.remoteSettings;
      expect(seen).toMatchObject({ maxFrameSize: frameBytes, initialWindowSize: streamWindowBytes });
      expect(session?.state.effectiveLocalWindowSize).toBe(sessionWindowBytes);
    }
  });

  it('installed twice wrap once, and leave sessions of others alone', async () => {
    const http2 = createRequire(import.meta.url)('node:http2') as typeof http2Types;
    installHttp2Settings();
    const { connect, createServer } = http2;
    installHttp2Settings();
    expect([http2.connect, http2.createServer]).toEqual([connect, createServer]);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const session = connect(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
    await once(session, 'remoteSettings');
    expect(session.remoteSettings.initialWindowSize).toBe(65_535);
    session.destroy();
    server.close();
  });

  it('are each thread’s own', async () => {
    installHttp2Settings();
    const inThread = `
      const { parentPort } = require('node:worker_threads');
      parentPort.postMessage(Object.getOwnPropertySymbols(require('node:http2')).map(String));`;
    const worker = new Worker(inThread, { eval: true });
    const [symbols] = (await once(worker, 'message')) as [string[]];
    expect(symbols).not.toContain('Symbol(lockstep.http2-settings)');
    const here = Object.getOwnPropertySymbols(createRequire(import.meta.url)('node:http2')).map(String);
    expect(here).toContain('Symbol(lockstep.http2-settings)');
  });
});

describe('64 MB', () => {
  it('arrive whole by a push and by a pull', async () => {
    const server = await start({
      push: (stream) => countBlocks(messagesOf(stream, site)),
      pull: (stream) => void writeAll(stream, blocks(64), site).then(() => stream.end()),
    });
    const client = server.client();
    const answer = await push(client, blocks(64));
    expect(answer.detail).toBe(String(64 * 2 ** 20));
    expect(await countBlocks(pull(client))).toBe(String(64 * 2 ** 20));
  });

  it('wait in the source while the receiver is slow', async () => {
    let made = 0;
    let taken = 0;
    let furthestAhead = 0;
    const server = await start({
      push: async (stream) => {
        for await (const _ of messagesOf(stream, site)) {
          taken += 1;
          if (taken % 8 === 0) await delay(20);
        }
        return String(taken);
      },
    });
    const client = server.client();
    const messages = blocks(160, () => {
      made += 1;
      furthestAhead = Math.max(furthestAhead, made - taken);
    });
    const answer = await push(client, messages);
    expect(answer.detail).toBe('160');
    // The stream's window (16), the receiver's object buffer (16) and the writer's own four, with some on their way.
    expect(furthestAhead).toBeLessThan(48);
  });
});

describe('a call that fails', () => {
  const stuck: Handlers = { push: () => new Promise<string>(() => undefined), pull: () => undefined };

  it('by its deadline names call, peer and task', async () => {
    const server = await start(stuck);
    const client = server.client();
    const begin = performance.now();
    const error = await failure(push(client, blocks(1), { deadlineMs: 200 }));
    expect(performance.now() - begin).toBeLessThan(2_000);
    expect(error.fault).toBe('deadline');
    expect(error.message).toMatch(
      /^Reducer\.PushGradient with 127\.0\.0\.1 for train task 1 of step 12 of job J1: .*deadline/,
    );
  });

  it('by an abort says why, and tells the source to end', async () => {
    const server = await start(stuck);
    const client = server.client();
    const controller = new AbortController();
    let returned = false;
    async function* source(): AsyncGenerator<PushGradientRequest> {
      try {
        yield* blocks(1);
        controller.abort(new Error('the task was cancelled'));
        yield* blocks(1000);
      } finally {
        returned = true;
      }
    }
    const error = await failure(push(client, source(), { signal: controller.signal }));
    expect(error).toMatchObject({ fault: 'aborted', message: expect.stringContaining('the task was cancelled') });
    await expect.poll(() => returned).toBe(true);
  });

  it('by a signal that was aborted before is not begun', async () => {
    const aborted = AbortSignal.abort();
    const never = (): never => {
      throw new Error('begun');
    };
    expect((await failure(pushStream(site, { ...limits, signal: aborted }, never, blocks(1)))).fault).toBe('aborted');
  });

  it('by an error of its source ends with that error and cancels the call', async () => {
    const received = reception();
    const server = await start(received.handlers);
    async function* broken(): AsyncGenerator<PushGradientRequest> {
      yield* blocks(2);
      while (received.blocks() < 2) await delay(5);
      throw new Error('no gradient');
    }
    await expect(push(server.client(), broken())).rejects.toThrow('no gradient');
    await expect.poll(received.outcome).toBe('incomplete');
  });

  it('by a receiver that takes nothing stalls within its bound', async () => {
    const server = await start(stuck);
    const client = server.client();
    const error = await failure(push(client, blocks(200), { stallMs: 300 }));
    expect(error).toMatchObject({
      fault: 'stalled',
      message: expect.stringContaining('no message could be sent for 300 ms'),
    });
  });

  it('by a sender that sends nothing stalls within its bound', async () => {
    const server = await start(stuck);
    const client = server.client();
    const pulled = pull(client, { stallMs: 200 });
    expect(await failure(countBlocks(pulled))).toMatchObject({ fault: 'stalled' });
  });

  it('for want of a server says so at once', async () => {
    const server = await start(stuck);
    const client = server.client('127.0.0.1:1');
    const error = await failure(push(client, blocks(1)));
    expect(error.fault).toBe('unreachable');
  });
});

describe('a connection that is cut in mid stream', () => {
  it('ends both sides of a push', async () => {
    const received = reception();
    const server = await start(received.handlers);
    const proxy = await startProxy(server.port);
    const client = server.client(proxy.address);
    async function* endless(): AsyncGenerator<PushGradientRequest> {
      for (;;) {
        yield* blocks(1);
        if (received.blocks() > 3) proxy.cut();
        await delay(5);
      }
    }
    const error = await failure(push(client, endless()));
    expect(error.fault).toBe('unreachable');
    await expect.poll(received.outcome).toBe('incomplete');
  });

  it('ends both sides of a pull', async () => {
    let heard: Promise<WireError> | undefined;
    const server = await start({ pull: (stream) => (heard = failure(writeAll(stream, blocks(500), site))) });
    const proxy = await startProxy(server.port);
    const client = server.client(proxy.address);
    const pulled = (async () => {
      let count = 0;
      for await (const _ of pull(client)) {
        count += 1;
        if (count === 5) proxy.cut();
      }
    })();
    expect((await failure(pulled)).fault).toBe('unreachable');
    expect((await heard)?.fault).toBe('closed');
  });

  it('without a word is noticed by the bound on each message', async () => {
    const server = await start({ push: (stream) => countBlocks(messagesOf(stream, site)) });
    const proxy = await startProxy(server.port);
    const client = server.client(proxy.address);
    const messages = blocks(500, (index) => index === 5 && proxy.freeze());
    const error = await failure(push(client, messages, { stallMs: 500 }));
    expect(error.fault).toBe('stalled');
  });
});

describe('an answer before the end', () => {
  it('stops the push at once and is what the push gives', async () => {
    const server = await start({
      push: async (stream) => {
        for await (const _ of messagesOf(stream, site)) return 'not wanted';
        return 'empty';
      },
    });
    const client = server.client();
    let made = 0;
    async function* waiting(): AsyncGenerator<PushGradientRequest> {
      yield* blocks(2, () => (made += 1));
      // As a backward pass that takes its time.
      await delay(60_000, undefined, { ref: false });
      yield* blocks(1000, () => (made += 1));
    }
    const answer = await push(client, waiting());
    expect(answer.detail).toBe('not wanted');
    expect(made).toBe(2);
  });

  it('leaving a pull early cancels it', async () => {
    let heard: Promise<WireError> | undefined;
    const server = await start({ pull: (stream) => (heard = failure(writeAll(stream, blocks(500), site))) });
    const client = server.client();
    for await (const _ of pull(client)) break;
    expect((await heard)?.fault).toBe('closed');
  });
});

describe('the token', () => {
  it('lets a call in that carries it and turns others away with one sentence', async () => {
    const server = await start({ push: (stream) => countBlocks(messagesOf(stream, site)) }, 'secret');
    const client = server.client();
    expect((await push(client, blocks(1), {}, 'secret')).detail).toBe(String(2 ** 20));
    for (const [token, complaint] of [
      [undefined, /carries no token; set LOCKSTEP_WORKER_TOKEN/],
      ['Secret', /is not the right one; set LOCKSTEP_WORKER_TOKEN/],
    ] as const) {
      const error = await failure(push(client, blocks(1), {}, token));
      expect(error).toMatchObject({ fault: 'unauthenticated', grpcStatus: status.UNAUTHENTICATED });
      expect(error.message).toMatch(complaint);
      expect(error.message).not.toContain('ecret');
    }
  });
});
