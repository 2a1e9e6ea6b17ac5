// A TCP proxy that does harm on command: cuts, refuses, stalls, delays, throttles, and stops single HTTP/2 frames on their
// way, to be passed on, cut in half or sent with a flipped bit. Refuses to know what travels; it only counts and waits.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrameCutter, frameTypes, type Http2Frame } from './http2-frames.js';

export interface FaultProxyOptions {
  /** Where connections really go, on this machine. */
  readonly targetPort: number;
  /** Bytes are HTTP/2 without TLS: single frames may be watched and held. @default false */
  readonly http2?: boolean;
}

/** A frame that passes; `client` is whoever connected to the proxy. */
export interface PassingFrame extends Http2Frame {
  readonly from: 'client' | 'server';
  /** Name of the stream, unique within this proxy. */
  readonly call: string;
  /** Payload of DATA frames that this side has sent on this stream, this frame included. Bytes. */
  readonly sent: number;
}

/** A frame that waits, and everything behind it; exactly one of the three lets it go. */
export interface HeldFrame {
  readonly frame: PassingFrame;
  pass(): void;
  /** Sends it on with one bit in the middle of its payload turned. */
  flip(): void;
  /** Sends half of it, then breaks the connection on both sides. */
  cut(): void;
}

type Fate = 'pass' | 'flip' | 'cut';
type Hold = (frame: PassingFrame) => Promise<Fate> | undefined;

const host = '127.0.0.1';

export class FaultProxy {
  readonly port: number;
  /** Every piece waits this long, milliseconds. */
  latencyMs = 0;
  /** Of one direction of one connection. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  /** New connections are broken at once. */
  refusing = false;
  readonly #server: Server;
  readonly #options: FaultProxyOptions;
  readonly #sockets = new Set<Socket>();
  readonly #holds = new Set<Hold>();
  readonly #watchers = new Set<(frame: PassingFrame) => void>();
  #gate: { readonly opened: Promise<void>; readonly open: () => void } | undefined;
  #connections = 0;

  private constructor(server: Server, options: FaultProxyOptions) {
    this.#server = server;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => this.#accept(client));
  }

  /** Listens on a free port of the loopback address; whoever is behind it need not be there yet. */
  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const server = createServer({ noDelay: true }).listen(0, host);
    await once(server, 'listening');
    return new FaultProxy(server, options);
  }

  /** host:port, for settings. */
  get address(): string {
    return `${host}:${this.port}`;
  }

  /** Breaks every open connection, on both sides. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Nothing passes until `flow`, but no connection breaks. */
  stall(): void {
    if (this.#gate !== undefined) return;
    let open!: () => void;
    const opened = new Promise<void>((resolve) => (open = resolve));
    this.#gate = { opened, open };
  }

  flow(): void {
    this.#gate?.open();
    this.#gate = undefined;
  }

  /** No more harm: what waits passes, new connections are welcome. */
  heal(): void {
    this.flow();
    this.refusing = false;
    this.latencyMs = 0;
    this.bytesPerSecond = Number.POSITIVE_INFINITY;
  }

  /** Calls `see` with every frame, before it passes; returns how to stop that. */
  watch(see: (frame: PassingFrame) => void): () => void {
    this.#watchers.add(see);
    return () => this.#watchers.delete(see);
  }

  /**
   * Stops the next frame that `matches`, once. Resolves when it is here; rejects when none came within `withinMs`.
   * The caller has to let it go.
   */
  hold(matches: (frame: PassingFrame) => boolean, withinMs = 30_000): Promise<HeldFrame> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#holds.delete(hold);
        reject(new Error(`no frame that was waited for came within ${withinMs} ms`));
      }, withinMs);
      const hold: Hold = (frame) => {
        if (!matches(frame)) return undefined;
        clearTimeout(timer);
        this.#holds.delete(hold);
        return new Promise<Fate>((decide) => {
          const [pass, flip, cut] = (['pass', 'flip', 'cut'] as const).map((fate) => () => decide(fate));
          resolve({ frame, pass: pass!, flip: flip!, cut: cut! });
        });
      };
      this.#holds.add(hold);
    });
  }

  /** Breaks what is open and listens no more. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    this.heal();
    await closed;
  }

  #accept(client: Socket): void {
    if (this.refusing) return void client.resetAndDestroy();
    this.#connections += 1;
    const server = connect({ host, port: this.#options.targetPort, noDelay: true });
    const both = [client, server];
    for (const socket of both) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined); // `close` follows
      socket.on('close', () => {
        this.#sockets.delete(socket);
        for (const each of both) each.destroy();
      });
    }
    void this.#pump(client, server, 'client', this.#connections);
    void this.#pump(server, client, 'server', this.#connections);
  }

  /** Carries one direction of a connection to its end. */
  async #pump(source: Socket, sink: Socket, from: 'client' | 'server', connection: number): Promise<void> {
    const cutter = this.#options.http2 === true ? new FrameCutter(from === 'client') : undefined;
    const sent = new Map<number, number>();
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        if (this.latencyMs > 0) await sleep(this.latencyMs);
        for (const piece of cutter?.push(chunk) ?? [chunk]) {
          if (Buffer.isBuffer(piece)) await this.#send(sink, piece);
          else await this.#sendFrame(source, sink, this.#describe(piece, from, connection, sent));
        }
      }
      sink.end();
    } catch (error) {
      // Broken connections are this file's trade; what is broken in this file must show.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }

  #describe(frame: Http2Frame, from: 'client' | 'server', connection: number, sent: Map<number, number>): PassingFrame {
    const before = sent.get(frame.stream) ?? 0;
    const total = before + (frame.type === frameTypes.data ? frame.payload.length : 0);
    if (frame.endsStream) sent.delete(frame.stream);
    else if (total > 0) sent.set(frame.stream, total);
    return { ...frame, from, call: `${connection}/${frame.stream}`, sent: total };
  }

  async #sendFrame(source: Socket, sink: Socket, frame: PassingFrame): Promise<void> {
    for (const see of this.#watchers) see(frame);
    let held: Promise<Fate> | undefined;
    for (const hold of this.#holds) held ??= hold(frame);
    const fate = (await held) ?? 'pass';
    if (fate === 'flip') frame.payload[frame.payload.length >> 1]! ^= 0x10;
    if (fate !== 'cut') return this.#send(sink, frame.bytes);
    await new Promise((sent) => sink.write(frame.bytes.subarray(0, frame.bytes.length >> 1), sent));
    sink.destroy();
    source.destroy();
  }

  async #send(sink: Socket, bytes: Buffer): Promise<void> {
    await this.#gate?.opened;
    if (Number.isFinite(this.bytesPerSecond)) await sleep((1000 * bytes.length) / this.bytesPerSecond);
    if (!sink.destroyed && !sink.write(bytes)) await Promise.race([once(sink, 'drain'), once(sink, 'close')]);
  }
}
