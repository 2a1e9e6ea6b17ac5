// Streams objects as NDJSON at the pace of the reader.
// Refuses to buffer more than the socket's own buffer holds, and to know what the objects are.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, Response } from 'express';

/** Lines are joined up to about this many characters, so that short ones do not cost a write each. */
const CHUNK_CHARACTERS = 16_384;

/**
 * Sends one line per item. An error before the first item is thrown and can still become a status; a later one cuts the
 * connection, so that the reader does not take a part for the whole. A reader that goes ends the iteration.
 */
export async function sendLines(request: Request, response: Response, items: AsyncIterable<object>): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  const first = await iterator.next();
  response.status(200).set({ 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
  if (request.method === 'HEAD') {
    await iterator.return?.();
    response.end();
    return;
  }
  try {
    await pipeline(Readable.from(chunks(first, iterator), { objectMode: false }), response);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    // The reader went away: nobody is left to tell.
  }
}

async function* chunks(first: IteratorResult<object>, iterator: AsyncIterator<object>): AsyncGenerator<string> {
  let chunk = '';
  try {
    for (let item = first; item.done !== true; item = await iterator.next()) {
      chunk += `${JSON.stringify(item.value)}\n`;
      if (chunk.length >= CHUNK_CHARACTERS) {
        yield chunk;
        chunk = '';
      }
    }
    if (chunk !== '') yield chunk;
  } finally {
    await iterator.return?.();
  }
}
