import { defineConfig } from 'vitest/config';

// Specs beside the sources; systems under test/ that start real processes, those that take minutes under test/long/; and,
// where LOCKSTEP_PARITY_PYTHON names a Python that has torch and torchvision, the comparison with PyTorch.
const parity = process.env['LOCKSTEP_PARITY_PYTHON'] === undefined ? [] : ['test/parity/**/*.test.ts'];

// Specs share the cores; systems are processes that need them for themselves, one file at a time, after the specs.
export default defineConfig({
  resolve: { conditions: ['lockstep-source'] },
  ssr: { resolve: { conditions: ['lockstep-source'] } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['libs/**/*.spec.ts', 'apps/**/*.spec.ts'],
          pool: 'forks',
          testTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/**/*.test.ts'],
          exclude: ['test/parity/**', 'test/long/**'],
          pool: 'forks',
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: { name: 'parity', include: parity, pool: 'forks', fileParallelism: false },
      },
    ],
  },
});
