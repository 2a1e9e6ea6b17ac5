// A whole system for as long as a test or a file of tests lasts: started, stopped when they are over, its last words shown
// when they fail. Refuses to know how a system is made (test-system.ts), so that benchmarks can have one without vitest.
import { afterAll, afterEach, onTestFinished, TestRunner } from 'vitest';
import { type SystemOptions, TestSystem } from './test-system.js';

export { cliEntry, distribution, TestSystem } from './test-system.js';

const started = new Set<TestSystem>();

// Registered with the file that imports this: whatever is still running when its tests are over is stopped.
afterAll(async () => {
  await Promise.all([...started].map((system) => system.stop()));
}, 60_000);

// Before a test's own systems are stopped, and for those that the whole file shares.
afterEach(({ task }) => {
  if (task.result?.state !== 'fail') return;
  for (const system of started) {
    if (!system.stopped) console.error(`${task.name} failed; last lines of its system:\n${system.tail()}`);
  }
});

/**
 * Starts a system and waits until it is ready. Started inside a test, it is stopped when that test is over; started in
 * `beforeAll`, when the file's tests are.
 */
export async function startSystem(options: SystemOptions = {}): Promise<TestSystem> {
  const system = await TestSystem.prepare(options);
  started.add(system);
  if (TestRunner.getCurrentTest() !== undefined) onTestFinished(() => system.stop(), 60_000);
  try {
    await system.start();
  } catch (error) {
    await system.stop();
    throw error;
  }
  return system;
}
