// Starts and stops a Valkey of our own: nothing kept on disk, nothing evicted, gone when its parent is.
// Refuses to know what is stored in it, and where its binary came from.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupError, systemCode } from './setup-error.js';
import { lastLine } from './subprocess.js';

export interface ValkeyOptions {
  /** `valkey-server` or `redis-server`. */
  readonly binary: string;
  /** Its working folder; made where it is missing. */
  readonly dir: string;
  /** Listen on this unix socket (at most 107 bytes long) … */
  readonly socketPath?: string;
  /** … or on this port of 127.0.0.1; 0, the default, takes a free one. */
  readonly port?: number;
  /** Keep it out of this process's group, so that Ctrl-C on a terminal does not reach it. @default false */
  readonly ownProcessGroup?: boolean;
  /** How long it may take to answer. @default 10000 */
  readonly readyWithinMs?: number;
}

export interface ValkeyEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Valkey {
  /** For ioredis and BullMQ: `redis://127.0.0.1:PORT` or `unix://PATH`. */
  readonly url: string;
  readonly pid: number;
  /** Settles when it has ended, whoever ended it. */
  readonly ended: Promise<ValkeyEnd>;
  /** Ends it: asked first, killed after `withinMs` (3000). */
  stop(withinMs?: number): Promise<void>;
}

/**
 * A shell stays between us and Valkey. It tells Valkey's process id, and a watcher beside it reads from our end of a pipe:
 * when this process ends, however it ends, the read returns and the watcher kills Valkey, even a stopped one. The shell
 * waits for both, so that no zombie is left.
 */
export const guardScript = [
  'trap "" INT TERM HUP; exec 3<&0 </dev/null',
  '"$@" 3<&- & server=$!; echo "pid $server"',
  '(read -r _ <&3; kill -9 $server) >/dev/null 2>&1 & watcher=$!; exec 3<&-',
  'wait $server; code=$?; kill -9 $watcher 2>/dev/null; wait $watcher 2>/dev/null; exit $code',
].join('\n');
const longestSocketPath = 107;

/** Starts Valkey and waits until it answers. Throws a `SetupError` where it does not. */
export async function startValkey(options: ValkeyOptions): Promise<Valkey> {
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const { socketPath } = options;
  if (socketPath !== undefined && Buffer.byteLength(socketPath) > longestSocketPath) {
    throw new SetupError(
      `The path of Valkey's socket is longer than ${longestSocketPath} bytes: ${socketPath}.`,
      'Use a folder with a shorter path.',
    );
  }
  if (socketPath !== undefined) await rm(socketPath, { force: true });
  const port = socketPath === undefined ? options.port || (await freePort()) : 0;
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no', '--save', ''];
  args.push('--appendonly', 'no', '--maxmemory-policy', 'noeviction', '--loglevel', 'warning');
  if (socketPath !== undefined) args.push('--unixsocket', socketPath, '--unixsocketperm', '700');
  const guard = spawn('/bin/sh', ['-c', guardScript, 'lockstep-valkey', options.binary, ...args], {
    cwd: dir,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: options.ownProcessGroup ?? false,
  });
  const output = collectOutput(guard);
  const ended = new Promise<ValkeyEnd>((settle) => {
    guard.once('error', () => settle({ code: 127, signal: null }));
    guard.once('exit', (code, signal) => settle(endOf(code, signal)));
  });
  try {
    await waitUntilReady(socketPath ?? port, ended, options.readyWithinMs ?? 10_000, output.pid);
  } catch (error) {
    await stop(output.pid(), guard, ended, 0);
    const reason = error instanceof Error ? error.message : String(error);
    throw new SetupError(
      `${options.binary} did not start: ${reason} (${lastLine(output.said())}).`,
      'Run `npx lockstep doctor`, or set REDIS_URL to a Redis or Valkey that is running.',
      { cause: error },
    );
  }
  const pid = output.pid();
  if (pid === undefined) throw new Error('Valkey answers, but its shell has not told its process id');
  return {
    url: socketPath === undefined ? `redis://127.0.0.1:${port}` : `unix://${socketPath}`,
    pid,
    ended,
    stop: async (withinMs = 3000) => await stop(pid, guard, ended, withinMs),
  };
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

async function stop(
  pid: number | undefined,
  guard: ChildProcess,
  ended: Promise<ValkeyEnd>,
  withinMs: number,
): Promise<void> {
  const send = (signal: NodeJS.Signals): void => {
    // While the guard runs it has not let go of the process id, so that nobody else can have it.
    if (pid !== undefined && guard.exitCode === null && guard.signalCode === null) process.kill(pid, signal);
  };
  let killer: NodeJS.Timeout | undefined;
  if (withinMs > 0) {
    sendQuietly(send, 'SIGTERM');
    killer = setTimeout(() => sendQuietly(send, 'SIGKILL'), withinMs);
  } else {
    sendQuietly(send, 'SIGKILL');
  }
  await ended;
  clearTimeout(killer);
}

function sendQuietly(send: (signal: NodeJS.Signals) => void, signal: NodeJS.Signals): void {
  try {
    send(signal);
  } catch (error) {
    // It ended by itself between the look and the signal.
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

/** A shell tells of a signal that ended its child by an exit code above 128. */
function endOf(code: number | null, signal: NodeJS.Signals | null): ValkeyEnd {
  if (code === null || code <= 128) return { code, signal };
  const name = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
  return name === undefined ? { code, signal } : { code: null, signal: name as NodeJS.Signals };
}

async function waitUntilReady(
  address: string | number,
  ended: Promise<ValkeyEnd>,
  withinMs: number,
  ownPid: () => number | undefined,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  const state: { end?: ValkeyEnd } = {};
  void ended.then((end) => (state.end = end));
  for (;;) {
    const answering = await askPid(address, Math.max(1, deadline - Date.now()));
    if (answering !== undefined && answering === ownPid()) return;
    if (state.end !== undefined) throw new Error(`it ended with ${state.end.signal ?? `exit code ${state.end.code}`}`);
    // Valkey may answer before its shell has told its process id.
    if (answering !== undefined && ownPid() !== undefined) {
      throw new Error(`process ${answering} answers at ${address} already`);
    }
    if (Date.now() >= deadline) throw new Error(`no answer within ${withinMs} ms`);
    await sleep(20);
  }
}

/** Process id of the Redis that answers at a port of 127.0.0.1 or a unix socket; undefined where none does. */
async function askPid(address: string | number, withinMs: number): Promise<number | undefined> {
  return await new Promise((settle) => {
    const socket: Socket =
      typeof address === 'string' ? connect({ path: address }) : connect({ host: '127.0.0.1', port: address });
    let answer = '';
    const finish = (): void => {
      socket.destroy();
      const digits = /^process_id:(\d+)\r$/m.exec(answer)?.[1];
      settle(digits === undefined ? undefined : Number(digits));
    };
    socket.setTimeout(withinMs, finish);
    socket.once('error', finish);
    socket.once('close', finish);
    socket.on('data', (data) => {
      answer += data.toString('latin1');
      if (/^process_id:\d+\r$/m.test(answer)) finish();
    });
    socket.write('INFO server\r\n');
  });
}

/** Keeps the end of what the guard and Valkey say, and Valkey's process id. */
function collectOutput(guard: ChildProcess): { readonly said: () => string; readonly pid: () => number | undefined } {
  let output = '';
  let pid: number | undefined;
  for (const stream of [guard.stdout, guard.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const line = /^pid (\d+)\n/m.exec(output);
      if (pid === undefined && line !== null) {
        pid = Number(line[1]);
        output = output.replace(line[0], '');
      }
      output = output.slice(-8192);
    });
  }
  return { said: () => output, pid: () => pid };
}
