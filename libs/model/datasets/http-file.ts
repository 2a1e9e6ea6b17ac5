// Owns: reading ranges of a file over HTTP: what is allowed, that the file stays the same, going on after a connection that died.
// Refuses to know: what is in the file.
import { setTimeout as sleep } from 'node:timers/promises';
import { shownUrl } from './dataset-access.js';
import { DatasetError } from './dataset-error.js';

/** Asks for a URL once and follows no redirect. */
export type HttpGet = (
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
) => Promise<Response>;

export interface HttpFileOptions {
  readonly get: HttpGet;
  /** Whether a redirect may be followed. @default none may */
  readonly mayFollow?: (url: string) => boolean;
  /** Requests in a row that may fail. @default 5 */
  readonly attempts?: number;
  /** Pause after the first of them, milliseconds; each next one is twice as long. @default 250 */
  readonly firstPauseMs?: number;
  /** How long a server may be silent, milliseconds. @default 30,000 */
  readonly silenceMs?: number;
}

const mostRedirects = 5;

/** What a server says of a file: its length in bytes, and a tag that changes when its contents do (empty where it gives none). */
export interface FileState {
  readonly bytes: number;
  readonly tag: string;
}

export class HttpFile {
  readonly #url: string;
  readonly #options: HttpFileOptions;

  constructor(url: string, options: HttpFileOptions) {
    this.#url = url;
    this.#options = options;
  }

  /** @throws DatasetError where it cannot be had; the signal's reason */
  async state(signal?: AbortSignal): Promise<FileState> {
    return this.#again('0', signal, async (ask) => {
      const { response } = await ask({ range: 'bytes=0-0' });
      await response.body?.cancel();
      return stateOf(response, 0);
    });
  }

  /**
   * Bytes [offset, offset + length), which must lie in the file.
   *
   * @param expected state that the file must still have, as far as it is known
   * @throws DatasetError naming the file, the offset and the cause; the signal's reason
   */
  async read(
    offset: number,
    length: number,
    expected: Pick<FileState, 'bytes'> & Partial<FileState>,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let got = 0;
    const at = (): string => String(offset + got);
    return this.#again(at, signal, async (ask) => {
      const { response, alive } = await ask({ range: `bytes=${offset + got}-${offset + length - 1}` });
      const state = stateOf(response, offset + got);
      if (state.bytes !== expected.bytes || state.tag !== (expected.tag ?? state.tag)) {
        await response.body?.cancel();
        throw new DatasetError(
          `${shownUrl(this.#url)} has changed since it was indexed; index it anew with \`npx lockstep dataset index\``,
        );
      }
      for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
        alive();
        bytes.set(piece.subarray(0, length - got), got);
        got = Math.min(length, got + piece.length);
      }
      if (got < length) throw new Error('the connection ended early');
      return bytes;
    });
  }

  /** The whole file, of which only its largest size is known. */
  async readAll(mostBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    const state = await this.state(signal);
    if (state.bytes > mostBytes)
      throw new DatasetError(`${shownUrl(this.#url)} has ${state.bytes} bytes, more than ${mostBytes}`);
    return state.bytes === 0 ? new Uint8Array(0) : this.read(0, state.bytes, state, signal);
  }

  /** Tries again, with growing pauses, as long as trying again may help. */
  async #again<Result>(
    at: string | (() => string),
    signal: AbortSignal | undefined,
    work: (
      ask: (headers: Record<string, string>) => Promise<{ response: Response; alive: () => void }>,
    ) => Promise<Result>,
  ): Promise<Result> {
    const { attempts = 5, firstPauseMs = 250, silenceMs = 30_000 } = this.#options;
    const place = typeof at === 'string' ? () => at : at;
    let failures = 0;
    for (;;) {
      const before = place();
      const silence = new AbortController();
      const watch = setTimeout(() => silence.abort(new Error(`it was silent for ${silenceMs} ms`)), silenceMs);
      const either = signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal]);
      try {
        return await work(async (headers) => {
          const response = await this.#follow(headers, either);
          watch.refresh();
          return { response, alive: () => void watch.refresh() };
        });
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof DatasetError) throw error;
        // What went on before it broke counts as a beginning of its own.
        failures = place() === before ? failures + 1 : 1;
        if (failures >= attempts) {
          const cause = silence.signal.aborted ? (silence.signal.reason as Error) : error;
          throw new DatasetError(
            `${shownUrl(this.#url)} cannot be read at byte ${place()}: ${causeOf(cause)} (${attempts} attempts)`,
            { cause },
          );
        }
        await sleep(firstPauseMs * 2 ** (failures - 1) * (0.5 + Math.random() / 2), undefined, { signal });
      } finally {
        clearTimeout(watch);
      }
    }
  }

  async #follow(headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    let url = this.#url;
    for (let redirects = 0; redirects <= mostRedirects; redirects++) {
      // Compressed bytes would be others than those whose range was asked for.
      const response = await this.#options.get(url, { ...headers, 'accept-encoding': 'identity' }, signal);
      const { status } = response;
      if (status === 206) return response;
      await response.body?.cancel();
      const location = response.headers.get('location');
      if (status >= 300 && status < 400 && location !== null) {
        url = new URL(location, url).href;
        if (this.#options.mayFollow?.(url) !== true) {
          throw new DatasetError(
            `${shownUrl(this.#url)} redirects to ${shownUrl(url)}, which lies outside what LOCKSTEP_DATASET_URLS allows`,
          );
        }
        continue;
      }
      if (status === 200)
        throw new DatasetError(`${shownUrl(this.#url)} cannot be read in ranges: its server sends it only as a whole`);
      if (status === 408 || status === 429 || status >= 500) throw new Error(`HTTP status ${status}`);
      if (status === 416)
        throw new DatasetError(`${shownUrl(this.#url)} is empty or has become shorter (HTTP status 416)`);
      throw new DatasetError(`${shownUrl(this.#url)} cannot be read: HTTP status ${status}${hintFor(status)}`);
    }
    throw new DatasetError(`${shownUrl(this.#url)} redirects more than ${mostRedirects} times`);
  }
}

/** @param from where the bytes that were asked for begin */
function stateOf(response: Response, from: number): FileState {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  if (total === undefined)
    throw new DatasetError(`${shownUrl(response.url)} answers a range without saying how long the file is`);
  if (Number(first) !== from) {
    throw new DatasetError(
      `${shownUrl(response.url)} cannot be read in ranges: its server sends bytes from ${first} on, not from ${from} on`,
    );
  }
  return { bytes: Number(total), tag: response.headers.get('etag') ?? '' };
}

function hintFor(status: number): string {
  if (status === 401 || status === 403)
    return ', access is denied; set the credentials (LOCKSTEP_S3_…) or the token, or make it readable';
  return status === 404 ? ', there is no such file' : '';
}

function causeOf(error: unknown): string {
  const { message, cause } = error as Error;
  const deeper = cause as NodeJS.ErrnoException | undefined;
  return deeper?.code ?? deeper?.message ?? message;
}

/** HTTP by Node's own fetch. */
export const plainGet: HttpGet = (url, headers, signal) => fetch(url, { headers, signal, redirect: 'manual' });
