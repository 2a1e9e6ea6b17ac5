// Entry of a slice's thread: a gRPC server for Reducer calls, and the main thread's commands. Only ties them together.
import { parentPort, workerData } from 'node:worker_threads';
import { Server } from '@grpc/grpc-js';
import { serverCredentials, serverOptions } from '#proto/channel.js';
import { reducerService } from '#proto/block-codec.js';
import type { ReducerServer } from '#proto/generated/lockstep/v1/reducer.js';
import { tokenCheck } from '#proto/token-check.js';
import type { SliceCommand, SliceOptions, SliceReport } from './messages.js';
import { servePull } from './pull-call.js';
import { servePush } from './push-call.js';
import { Slice } from './slice.js';

const port = parentPort;
if (port === null) throw new Error('reducer-thread.js runs as a worker thread only.');
const report = (message: SliceReport): void => port.postMessage(message);

const options = workerData as SliceOptions;
const slice = new Slice(options, report);
// A rejection here is a bug: the thread ends, and the coordinator with it, to start again from the last checkpoint.
const service: ReducerServer = {
  pullParameters: (call) => void servePull(slice, call),
  pushGradient: (call, answer) => void servePush(slice, call, answer),
};

const server = new Server({ ...serverOptions(), interceptors: [tokenCheck(options.workerToken)] });
server.addService(reducerService, service);
const tls = options.tls && {
  certificate: Buffer.from(options.tls.cert),
  privateKey: Buffer.from(options.tls.key),
  clientCa: options.tls.ca === undefined ? undefined : Buffer.from(options.tls.ca),
};
server.bindAsync(`${options.host}:${options.port}`, serverCredentials(tls), (error, bound) => {
  if (error) report({ type: 'cannot-listen', problem: error.message });
  else report({ type: 'listening', port: bound });
});

port.on('message', (command: SliceCommand) => {
  if (command.type !== 'stop') return slice.handle(command);
  server.forceShutdown();
  report({ type: 'answer', request: command.request, values: new Float64Array(0), finite: true });
  port.close();
});
