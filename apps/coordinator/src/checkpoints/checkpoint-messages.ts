// What the main thread asks of the checkpoint thread. Tensors lie in SharedArrayBuffers. Types only.
import type { CheckpointFacts, CheckpointManifest, TrainingState } from '#model/checkpoint.js';
import type { InitialWeights } from '#model/exchange/initial-weights.js';
import type { ModelSpec } from '#model/job-spec.js';
import type { ParameterLayout } from '#model/parameters.js';

export type CheckpointCommand =
  | {
      readonly type: 'write';
      readonly folder: string;
      readonly layout: ParameterLayout;
      readonly state: TrainingState;
      readonly facts: CheckpointFacts;
      /** How many to keep besides the initial one. */
      readonly keep: number;
    }
  | {
      /** Reads the newest good checkpoint into `into`; where there is none, what the training starts from. */
      readonly type: 'restore';
      readonly folder: string;
      readonly layout: ParameterLayout;
      readonly into: Omit<TrainingState, 'scheduleState'>;
      readonly start: {
        readonly model: ModelSpec;
        readonly seed: number;
        /** Undefined: random numbers of the seed. */
        readonly weights: InitialWeights | undefined;
      };
    };

export interface CheckpointRequest {
  readonly request: number;
  readonly command: CheckpointCommand;
}

export interface CheckpointOnDisk {
  readonly path: string;
  readonly manifest: CheckpointManifest;
}

export type CheckpointReply = { readonly request: number } & (
  | { readonly ok: true; readonly checkpoint: CheckpointOnDisk | undefined; readonly problems: readonly string[] }
  | { readonly ok: false; readonly problem: string }
);
