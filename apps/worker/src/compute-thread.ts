// The thread that TensorFlow lives in: takes requests, answers them one after the other.
// Refuses to know networks, queues and the coordinator; a TensorFlow call may block this thread for seconds.
import { parentPort, workerData } from 'node:worker_threads';
import type { KernelTable } from '#model/kernel-table.js';
import { tensorFlowIdentity } from '#model/tensorflow/addon.js';
import { lockstepKernelsVersion } from '#model/tensorflow/lockstep-kernels.js';
import { observeKernels } from '#model/tensorflow/kernel.js';
import { liveTensors, Tensor } from '#model/tensorflow/tensor.js';
import {
  type ComputeThreadData,
  type ComputeTotals,
  controlWords,
  type FromCompute,
  type ToCompute,
} from './compute-protocol.js';
import { ComputeAborted, Computer } from './computer.js';
import { messageOf } from './withdrawal.js';

/** Gradients of some three blocks: enough for the device to have work while one is read. */
const deviceReadLag = 24;

const port = parentPort;
if (port === null) throw new Error('compute-thread.js is started by compute-client.js, not by hand.');
const { control } = workerData as ComputeThreadData;
const say = (message: FromCompute): void => port.postMessage(message);

try {
  const { version, device } = tensorFlowIdentity();
  // The addon sets itself up at its first tensor, and crashes the process at its end when there never was one.
  Tensor.of(new Float32Array(1), [1]).dispose();
  // A kernel that hangs is noticed by this: whoever computes moves on, if only through a forward pass.
  observeKernels(() => Atomics.add(control, controlWords.progress, 1));
  const computer = new Computer({
    control,
    onProgress: () => say({ type: 'progress' }),
    countTensors: liveTensors,
    readLag: device === 'gpu' ? deviceReadLag : 0,
  });
  port.on('message', (message: ToCompute) => handle(computer, message));
  const deviceKind = device === 'gpu' ? 'cuda' : 'cpu';
  // Elsewhere than on processors TensorFlow's own kernels compute.
  const kernels = deviceKind === 'cpu' ? String(lockstepKernelsVersion()) : '';
  say({ type: 'ready', facts: { tensorflowVersion: version, deviceKind, kernels } });
} catch (error) {
  say({ type: 'unusable', message: messageOf(error) });
  port.close();
}

function handle(computer: Computer, message: ToCompute): void {
  switch (message.type) {
    case 'train':
      return answer(message.id, () => computer.train(message.id, message.request));
    case 'evaluate':
      return answer(message.id, () => computer.evaluate(message.id, message.request));
    case 'try-kernels':
      return answerTrial(message.id, () => computer.tryKernels(message.job));
    case 'end-job':
      return computer.endJob(message.jobId);
    case 'stop':
      computer.dispose();
      port?.close();
  }
}

function answerTrial(id: number, run: () => KernelTable): void {
  try {
    say({ type: 'kernels-tried', id, table: run() });
  } catch (error) {
    say({ type: 'kernels-not-tried', id, message: messageOf(error) });
  }
}

function answer(id: number, compute: () => ComputeTotals): void {
  try {
    say({ type: 'done', id, totals: compute() });
  } catch (error) {
    say({ type: 'failed', id, message: messageOf(error), aborted: error instanceof ComputeAborted });
  }
}
