// Asks the coordinator's REST for files: with this worker's token, over TLS where the pool has it.
// Refuses to know what is asked for.
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { HttpGet } from '#model/datasets/http-file.js';

/** Certificates in PEM form; `ca` is whom the worker trusts. */
export interface CoordinatorTls {
  readonly ca: Buffer;
  readonly certificate: Buffer | undefined;
  readonly privateKey: Buffer | undefined;
}

export function coordinatorGet(token: string | undefined, tls: CoordinatorTls | undefined): HttpGet {
  const plain = new HttpAgent({ keepAlive: true });
  const secure = new HttpsAgent({ keepAlive: true, ca: tls?.ca, cert: tls?.certificate, key: tls?.privateKey });
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return (url, headers, signal) =>
    new Promise((resolve, reject) => {
      const options = { headers: { ...headers, ...authorization }, signal };
      const answered = (incoming: IncomingMessage): void => resolve(responseOf(incoming));
      const outgoing = url.startsWith('https:')
        ? httpsRequest(url, { ...options, agent: secure }, answered)
        : httpRequest(url, { ...options, agent: plain }, answered);
      outgoing.once('error', reject);
      outgoing.end();
    });
}

function responseOf(incoming: IncomingMessage): Response {
  const headers = Object.entries(incoming.headers).map(([name, value]): [string, string] => [name, String(value)]);
  const body = Readable.toWeb(incoming) as ReadableStream<Uint8Array<ArrayBuffer>>;
  return new Response(body, {
    status: incoming.statusCode ?? 500,
    headers,
  });
}
