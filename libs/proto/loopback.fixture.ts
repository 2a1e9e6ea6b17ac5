// A reducer on loopback for the specs of the wire, and the messages that they send.
// Refuses to know what a reducer is for.
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Server, type ServerReadableStream, type ServerWritableStream } from '@grpc/grpc-js';
import { openReducer, reducerService } from './block-codec.js';
import { channelOptions, clientCredentials, serverCredentials, serverOptions } from './channel.js';
import { crc32c } from './crc32c.js';
import { Outcome } from './generated/lockstep/v1/pool.js';
import type {
  PullParametersRequest,
  PullParametersResponse,
  PushGradientRequest,
  PushGradientResponse,
  ReducerClient,
} from './generated/lockstep/v1/reducer.js';
import { tokenCheck } from './token-check.js';

export type PushStream = ServerReadableStream<PushGradientRequest, PushGradientResponse>;
export type PullStream = ServerWritableStream<PullParametersRequest, PullParametersResponse>;
export interface Handlers {
  push?(stream: PushStream): Promise<string>;
  pull?(stream: PullStream): void;
}

export interface Loopback {
  readonly port: number;
  readonly address: string;
  /** A client of its own connection; `via` another address than the server's. */
  client(via?: string): ReducerClient;
  close(): void;
}

/** Starts a server whose pushes are answered ACCEPTED with the string that the handler resolves to. */
export async function loopback(handlers: Handlers, token?: string): Promise<Loopback> {
  const server = new Server({ ...serverOptions(), interceptors: [tokenCheck(token)] });
  server.addService(reducerService, {
    pushGradient: (stream: PushStream, done: (error: Error | null, response?: PushGradientResponse) => void) => {
      handlers.push?.(stream).then(
        (detail) => done(null, { outcome: Outcome.ACCEPTED, detail }),
        () => stream.destroy(),
      );
    },
    pullParameters: (stream: PullStream) => handlers.pull?.(stream),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', serverCredentials(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const clients: ReducerClient[] = [];
  return {
    port,
    address: `127.0.0.1:${port}`,
    client: (via = `127.0.0.1:${port}`) => {
      const client = openReducer(via, clientCredentials(), channelOptions());
      clients.push(client);
      return client;
    },
    close: () => {
      for (const client of clients) client.close();
      server.forceShutdown();
    },
  };
}

export interface Proxy {
  readonly address: string;
  /** Ends every connection at once, as a process that is killed does. */
  cut(): void;
  /** Keeps connections open and passes nothing on, as a machine that lost its power does. */
  freeze(): void;
  close(): void;
}

/** A TCP proxy in front of `port`. */
export async function tcpProxy(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((downstream) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [downstream, upstream]) {
      sockets.add(socket);
      // What an end that was cut says is no news here.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
    }
    downstream.pipe(upstream).pipe(downstream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    freeze: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    close: () => {
      cut();
      server.close();
    },
  };
}

const megabyte = new Uint8Array(1024 * 1024).map((_, index) => index % 251);
const megabyteChecksum = crc32c(megabyte);

/** Push messages with blocks 0 … count - 1 of 1 MiB each; `onNext` hears which one is about to be made. */
export function* blocks(count: number, onNext?: (index: number) => void): Generator<PushGradientRequest> {
  for (let index = 0; index < count; index++) {
    onNext?.(index);
    const value = { index, data: megabyte, checksum: megabyteChecksum, inSegment: false };
    yield { message: { $case: 'block', value } };
  }
}
