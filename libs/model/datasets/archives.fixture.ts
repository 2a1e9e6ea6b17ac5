// Tar archives and a server of files with ranges for specs; the server can be told to misbehave.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pack } from 'tar-stream';

/** A tar archive with these members, in order, and what POSIX headers (pax) say of them. */
export async function tarOf(
  members: Readonly<Record<string, Uint8Array | string>>,
  pax: Readonly<Record<string, Record<string, string>>> = {},
): Promise<Buffer> {
  const archive = pack();
  for (const [name, bytes] of Object.entries(members))
    archive.entry({ name, pax: pax[name] ?? null }, Buffer.from(bytes));
  archive.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of archive) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** Answers a request in its own way; false: as usual. */
export type Misbehaviour = (request: IncomingMessage, response: ServerResponse) => boolean;

export class RangeServer {
  readonly #server: Server;
  /** By path, such as '/a.tar'. */
  readonly files = new Map<string, Buffer>();
  readonly requests: { path: string; range: string; headers: IncomingMessage['headers'] }[] = [];
  misbehave: Misbehaviour = () => false;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<RangeServer> {
    const server = new RangeServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { url = '', headers } = request;
    this.requests.push({ path: url, range: headers.range ?? '', headers });
    if (this.misbehave(request, response)) return;
    const file = this.files.get(url);
    if (file === undefined) return void response.writeHead(404).end();
    const { from, to, piece } = pieceOf(file, headers.range);
    response
      .writeHead(206, {
        'content-range': `bytes ${from}-${to}/${file.length}`,
        'content-length': piece.length,
        etag: `"${createHash('sha256').update(file).digest('hex').slice(0, 16)}"`,
      })
      .end(piece);
  }
}

export function pieceOf(file: Buffer, range = ''): { from: number; to: number; piece: Buffer } {
  const [, first = '0', last = '0'] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
  const from = Number(first);
  const to = Math.min(Number(last), file.length - 1);
  return { from, to, piece: file.subarray(from, to + 1) };
}
