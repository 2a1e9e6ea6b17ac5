// A worker that computes true gradients and then sends something else: each refusal by its name, and none of it in the sum.
import { expect } from 'vitest';
import type { Misdeed } from '../misdeeds.js';
import { allowance, type Cell, handOver, noCopies } from './cell.js';

/** What the coordinator must answer to each. */
const answers: readonly (readonly [misdeed: Misdeed, fault: string, outcome: RegExp])[] = [
  ['twice', 'a result is sent twice at the same time', /^DUPLICATE$/],
  ['stale version', 'a result was computed with another version', /^STALE$/],
  ['not finite', 'a result holds a NaN', /^NOT_FINITE$/],
  ['other layout', 'a result has another layout', /^LAYOUT_MISMATCH$/],
  ['short block', 'a result has a block of a wrong shape', /^LAYOUT_MISMATCH$/],
  ['block missing', 'a result lacks its blocks', /^INCOMPLETE$/],
  ['no end', 'a result ends before its end', /^INCOMPLETE$/],
  ['flipped bit', 'a result does not match its checksum', /^CHECKSUM_MISMATCH$/],
  ['broken seal', 'totals of a result do not match their checksum', /^CHECKSUM_MISMATCH$/],
  ['other samples', 'a result was computed with other samples', /^WRONG_SAMPLES$/],
];

export const rogueCells: readonly Cell[] = [
  ...answers.map(([misdeed, fault, outcome]): Cell => ({
    fault,
    faults: noCopies,
    harm: async (ground) => {
      const rogue = await ground.rogue();
      rogue.commit(misdeed);
      // A push has an answer from each slice, and `twice` has two of them.
      const wanted = misdeed === 'twice' ? 4 : 1;
      const given = await rogue.answersTo(misdeed, wanted);
      expect(given.map((answer) => answer.outcome)).toContainEqual(expect.stringMatching(outcome));
      // Whichever came first counts, the other one does not.
      if (misdeed === 'twice') expect(given.map((answer) => answer.outcome)).toContain('ACCEPTED');
      await ground.api.untilWorkers((pool) =>
        pool.some(
          ({ name, refused }) => name === 'rogue' && Object.keys(refused).some((reason) => isNamed(reason, outcome)),
        ),
      );
      await ground.furtherSteps(2);
      const refused = (await ground.steps()).flatMap((record) => record.refused);
      expect(refused.some(({ worker, reason }) => worker === 'rogue' && isNamed(reason, outcome))).toBe(true);
    },
    longestStepSeconds: handOver + allowance,
  })),
  {
    fault: 'a result comes when its step is long over',
    harm: async (ground) => {
      const rogue = await ground.rogue();
      rogue.commit('late');
      const { step } = await rogue.heldBack();
      await ground.untilStep(step + 3);
      rogue.deliverLate();
      const given = await rogue.answersTo('late');
      const outcomes = given.map((answer) => answer.outcome);
      expect(outcomes).toContainEqual(expect.stringMatching(/^(STALE|DUPLICATE)$/));
      expect(outcomes).not.toContain('ACCEPTED');
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker of the right class computes other bits, and shows it by its probe',
    harm: async (ground) => {
      await ground.untilStep(2);
      await ground.rogue({ wrongProbe: true });
      await ground.said(ground.system.coordinator, /Worker rogue does not compute the same bits/);
      await ground.furtherSteps(3);
      const records = await ground.steps();
      expect(records.flatMap(({ tasks }) => tasks.map(({ worker }) => worker))).not.toContain('rogue');
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker begins to compute other bits, and every task is proved',
    faults: { faults: { proofShare: 1, speculation: false } },
    harm: async (ground) => {
      const rogue = await ground.rogue();
      rogue.commit('other bits');
      const given = await rogue.answersTo('other bits');
      expect(given[0]!.outcome).toBe('NOT_ADMITTED');
      expect(given[0]!.detail).toMatch(/Worker rogue computed other bits for .* than two others/);
      await ground.api.untilWorkers((pool) => pool.some(({ name, state }) => name === 'rogue' && state === 'draining'));
    },
    longestStepSeconds: handOver + 2 * allowance,
  },
];

/** Reasons are the wire's names in lower case. */
function isNamed(reason: string, outcome: RegExp): boolean {
  return outcome.test(reason.toUpperCase());
}
