// Entry of the checkpoint thread: hashing, converting and fsyncing hundreds of megabytes blocks, so it is done here.
import { parentPort } from 'node:worker_threads';
import { pruneCheckpoints, readNewestCheckpoint, writeCheckpoint } from '#model/checkpoint.js';
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
  const { found, problems } = readNewestCheckpoint(command.folder, command.layout, command.into);
  return { checkpoint: found && { path: found.path, manifest: found.manifest }, problems };
}
