// A numerics class for specs in which nothing is computed.
import type { NumericsClass } from '#proto/generated/lockstep/v1/pool.js';

export const numericsClass: NumericsClass = {
  tensorflowVersion: '1',
  flags: '',
  deviceKind: 'cpu',
  deviceModel: 'none',
  instructionSet: '',
  threads: 1,
  imageLibrary: '',
};
