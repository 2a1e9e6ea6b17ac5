// A thread that prepares images. sharp decodes in the background of it, a kernel of TensorFlow on it; resizing and normalising happen on it.
// Refuses to know files, tasks and how many threads like it there are.
import { parentPort, workerData } from 'node:worker_threads';
import { decodeJpegsBy } from '#model/images/decode.js';
import { prepare } from '#model/images/prepare.js';
import { decodeJpegRows } from '#model/tensorflow/jpeg.js';
import type { FromImages, ImageThreadOptions, ToImages } from './image-protocol.js';
import { messageOf } from './withdrawal.js';

const port = parentPort;
if (port === null) throw new Error('image-thread.js is started by image-pool.js, not by hand.');
if ((workerData as ImageThreadOptions).jpegKernel) decodeJpegsBy(decodeJpegRows);
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
