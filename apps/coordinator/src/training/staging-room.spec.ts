import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StagingRoom } from './staging-room.js';

interface Occupant {
  readonly key: { readonly task: number };
  readonly name: string;
}

function roomFor(tasks: number, stagedAtOnce: number, contributionsPerSum = 1) {
  const accepted = new Set<number>();
  const admitted: Occupant[] = [];
  const lowest = () => Array.from({ length: tasks }, (_, task) => task).find((task) => !accepted.has(task));
  const onAdmitted = (one: Occupant) => admitted.push(one);
  const room = new StagingRoom<Occupant>({ tasks, stagedAtOnce, contributionsPerSum, lowest, onAdmitted });
  const accept = (one: Occupant): void => {
    accepted.add(one.key.task);
    room.sum(one);
    room.admit();
  };
  return { room, accepted, admitted, lowest, accept };
}

const of = (task: number, name = String(task)): Occupant => ({ key: { task }, name });

describe('StagingRoom', () => {
  it('lets the lowest task in although it is full, and others when somebody leaves, lower ones first', () => {
    const { room, admitted } = roomFor(5, 1);
    const [first, second, third, zero] = [of(1), of(3), of(2), of(0)];
    for (const one of [first, second, third, zero]) room.enter(one);
    expect(admitted).toEqual([first, zero]);
    expect(room.waiting).toEqual([second, third]);
    room.leave(zero);
    room.leave(first);
    expect(admitted).toEqual([first, zero, third]);
    expect(room.has(third)).toBe(true);
  });

  it('counts partial sums by what they take up', () => {
    const { room, admitted, accept } = roomFor(4, 2, 2);
    const [zero, two, three] = [of(0), of(2), of(3)];
    room.enter(zero);
    accept(zero);
    // One sum of two contributions' size fills the room.
    room.enter(two);
    room.enter(three);
    expect(admitted).toEqual([zero]);
    const one = of(1);
    room.enter(one);
    expect(admitted).toEqual([zero, one]);
  });

  it('gets every task accepted in any order of coming, leaving and deciding, within its bound', () => {
    const scenario = fc.record({
      tasks: fc.integer({ min: 1, max: 12 }),
      stagedAtOnce: fc.integer({ min: 1, max: 4 }),
      contributionsPerSum: fc.constantFrom(1, 2),
      choices: fc.infiniteStream(fc.nat()),
    });
    fc.assert(
      fc.property(scenario, ({ tasks, stagedAtOnce, contributionsPerSum, choices }) => {
        const { room, accepted, admitted, lowest, accept } = roomFor(tasks, stagedAtOnce, contributionsPerSum);
        const choose = (below: number): number => choices.next().value! % below;
        let leavings = tasks;
        const outside = Array.from({ length: tasks }, (_, task) => of(task));
        while (accepted.size < tasks) {
          const inside = admitted.filter((one) => room.has(one));
          // All but the lowest keep to the bound; the lowest may have come in on top of it.
          const others = inside.filter(({ key }) => key.task !== lowest());
          expect(others.length).toBeLessThanOrEqual(stagedAtOnce);
          const act = choose(4);
          if (act < 2 && outside.length > 0) room.enter(outside.splice(choose(outside.length), 1)[0]!);
          else if (inside.length > 0 && act === 3 && leavings > 0) {
            // Refused: it comes again.
            leavings -= 1;
            const [gone] = inside.splice(choose(inside.length), 1);
            room.leave(gone!);
            outside.push(of(gone!.key.task));
          } else if (inside.length > 0) accept(inside[choose(inside.length)]!);
          else if (outside.length === 0) throw new Error(`${room.waiting.length} wait and nobody is inside`);
        }
      }),
    );
  });
});
