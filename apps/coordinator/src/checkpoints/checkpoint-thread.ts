// Entry of the checkpoint thread: hashing, converting and fsyncing hundreds of megabytes blocks, so it is done here.
import { parentPort } from 'node:worker_threads';
import { pruneCheckpoints, readNewestCheckpoint, writeCheckpoint } from '#model/checkpoint.js';
import { initialState } from '#model/parameters.js';
import { stateFromWeights } from '#model/exchange/initial-weights.js';
import type { CheckpointCommand, CheckpointOnDisk, CheckpointReply, CheckpointRequest } from './checkpoint-messages.js';

const port = parentPort;
if (port === null) throw new Error('checkpoint-thread.js runs as a worker thread only.');

port.on('message', ({ request, command }: CheckpointRequest) => {
  let reply: CheckpointReply;
  try {
    reply = { request, ok: true, ...carryOut(command) };
  } catch (error) {
    reply = { request, ok: false, problem: error instanceof Error ? error.message : String(error) };
  }
  port.postMessage(reply);
});

function carryOut(command: CheckpointCommand): { checkpoint: CheckpointOnDisk | undefined; problems: string[] } {
  if (command.type === 'write') {
    const { folder, layout, state, facts, keep } = command;
    const checkpoint = writeCheckpoint(folder, layout, state, facts);
    pruneCheckpoints(folder, keep, [facts.step]);
    return { checkpoint, problems: [] };
  }
  const { folder, layout, into, start } = command;
  const { found, problems } = readNewestCheckpoint(folder, layout, into);
  if (found === undefined) {
    const { model, seed, weights } = start;
    const { parameters, statistics } =
      weights === undefined ? initialState(model, layout, seed) : stateFromWeights(model, seed, weights);
    into.parameters.set(parameters);
    into.momentum.fill(0);
    into.statistics.set(statistics);
  }
  return { checkpoint: found && { path: found.path, manifest: found.manifest }, problems };
}
