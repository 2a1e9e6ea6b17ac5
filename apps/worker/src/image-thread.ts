// A thread that prepares images: sharp decodes in the background of it, resizing and normalising happen on it.
// Refuses to know files, tasks and how many threads like it there are.
import { parentPort } from 'node:worker_threads';
import { prepare } from '#model/images/prepare.js';
import type { FromImages, ToImages } from './image-protocol.js';
import { messageOf } from './withdrawal.js';

const port = parentPort;
if (port === null) throw new Error('image-thread.js is started by image-pool.js, not by hand.');
port.on('message', (message: ToImages) => void answerTo(message));

async function answerTo({ id, bytes, recipe, out }: ToImages): Promise<void> {
  const started = performance.now();
  const answer = (rest: object): void => {
    const done: FromImages = { id, seconds: (performance.now() - started) / 1000, ...rest };
    port!.postMessage(done);
  };
  try {
    await prepare(bytes, recipe, out);
    answer({});
  } catch (error) {
    answer({ problem: messageOf(error) });
  }
}
