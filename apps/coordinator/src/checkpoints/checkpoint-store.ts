// Writes and restores checkpoints on a thread of its own, one at a time. Refuses to know when one is due.
import { Worker } from 'node:worker_threads';
import type { CheckpointCommand, CheckpointOnDisk, CheckpointReply, CheckpointRequest } from './checkpoint-messages.js';

/** A checkpoint could not be written or read; the message names the file and the cause. */
export class CheckpointFailedError extends Error {
  override readonly name = 'CheckpointFailedError';
}

type Command<Type> = Omit<Extract<CheckpointCommand, { type: Type }>, 'type'>;

interface Pending {
  readonly resolve: (reply: Extract<CheckpointReply, { ok: true }>) => void;
  readonly reject: (error: Error) => void;
}

export class CheckpointStore {
  readonly #thread: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #underWay = new Set<Promise<unknown>>();
  #requests = 0;

  /** @param onCrash told when the thread dies: nothing can be kept any more */
  constructor(onCrash: (error: Error) => void) {
    this.#thread = new Worker(new URL('./checkpoint-thread.js', import.meta.url), { name: 'checkpoints' });
    this.#thread.on('message', (reply: CheckpointReply) => {
      const pending = this.#pending.get(reply.request);
      this.#pending.delete(reply.request);
      if (reply.ok) pending?.resolve(reply);
      else pending?.reject(new CheckpointFailedError(reply.problem));
    });
    this.#thread.on('error', (error) =>
      onCrash(new Error(`The checkpoint thread failed: ${error.message}`, { cause: error })),
    );
  }

  /** Writes a checkpoint and removes the ones that are too many. `state` must not change until this resolves. */
  async write(command: Command<'write'>): Promise<CheckpointOnDisk> {
    const { checkpoint } = await this.#ask({ type: 'write', ...command });
    return checkpoint!;
  }

  /** Reads the newest whole checkpoint into `into`, or else what the training starts from; `problems` has a sentence for each damaged one that was passed over. */
  async restore(
    command: Command<'restore'>,
  ): Promise<{ checkpoint: CheckpointOnDisk | undefined; problems: readonly string[] }> {
    return this.#ask({ type: 'restore', ...command });
  }

  /** Waits for what is under way, then ends the thread. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#thread.terminate();
  }

  #ask(command: CheckpointCommand): Promise<Extract<CheckpointReply, { ok: true }>> {
    this.#requests += 1;
    const message: CheckpointRequest = { request: this.#requests, command };
    const answer = new Promise<Extract<CheckpointReply, { ok: true }>>((resolve, reject) => {
      this.#pending.set(message.request, { resolve, reject });
      this.#thread.postMessage(message);
    });
    const settled = answer.catch(() => undefined).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
    return answer;
  }
}
