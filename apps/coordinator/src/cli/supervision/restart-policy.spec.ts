import { describe, expect, it } from 'vitest';
import { type Death, RestartPolicy } from './restart-policy.js';

const failure = (livedMs: number): Death => ({ code: 1, signal: null, livedMs });
const killed: Death = { code: null, signal: 'SIGKILL', livedMs: 100 };

function delays(policy: RestartPolicy, deaths: readonly Death[]): (number | 'give up')[] {
  return deaths.map((death) => {
    const decision = policy.afterDeath(death);
    return decision.kind === 'restart' ? decision.delayMs : 'give up';
  });
}

describe('RestartPolicy', () => {
  it('answers the first death at once and fast ones in a row ever more slowly', () => {
    const policy = new RestartPolicy({ longestDelayMs: 1_500 });
    expect(
      delays(
        policy,
        Array.from({ length: 6 }, () => failure(100)),
      ),
    ).toEqual([0, 250, 500, 1_000, 1_500, 1_500]);
  });

  it('forgets fast deaths after a long life', () => {
    const policy = new RestartPolicy({ giveUpAfter: 3 });
    expect(delays(policy, [failure(1), failure(1), failure(60_000), failure(1), failure(1), failure(1)])).toEqual([
      0,
      250,
      0,
      0,
      250,
      'give up',
    ]);
  });

  it('never tires of kills from outside', () => {
    const policy = new RestartPolicy({ giveUpAfter: 2 });
    expect(
      delays(
        policy,
        Array.from({ length: 20 }, () => killed),
      ),
    ).toEqual(Array.from({ length: 20 }, () => 0));
    expect(
      delays(policy, [
        { ...killed, signal: 'SIGSEGV' },
        { ...killed, signal: 'SIGABRT' },
      ]),
    ).toEqual([0, 'give up']);
  });

  it('gives up at once on a code that says so', () => {
    expect(
      delays(new RestartPolicy({ hopelessCode: 2 }), [failure(1), { code: 2, signal: null, livedMs: 60_000 }]),
    ).toEqual([0, 'give up']);
  });
});
