import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { WireError } from '#proto/wire-error.js';
import { sentenceFor } from './register.js';

const site = { call: 'Pool.Register', peer: 'here:1' };

describe('sentenceFor', () => {
  it.each([
    [new WireError('unreachable', site, 'x'), 'Waiting for the coordinator at here:1 (LOCKSTEP_COORDINATOR)'],
    [new WireError('deadline', site, 'x'), 'accepts connections but does not answer'],
    [new WireError('unauthenticated', site, 'x'), 'set LOCKSTEP_WORKER_TOKEN'],
    [new WireError('failed', site, 'version 2', { grpcStatus: status.FAILED_PRECONDITION }), 'turns this worker away'],
    [new WireError('failed', site, 'oh', { grpcStatus: status.INTERNAL }), 'Joining the pool at here:1 failed'],
  ])('%s', (error, sentence) => {
    expect(sentenceFor(error, 'here:1')).toContain(sentence);
  });
});
