import { defineConfig } from 'vitest/config';

// Two projects: specs beside the sources, and systems under test/ that start real processes.
export default defineConfig({
  resolve: { conditions: ['lockstep-source'] },
  ssr: { resolve: { conditions: ['lockstep-source'] } },
  test: {
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['libs/**/*.spec.ts', 'apps/**/*.spec.ts'], pool: 'forks' },
      },
      {
        extends: true,
        test: { name: 'system', include: ['test/**/*.test.ts'], pool: 'forks', fileParallelism: false, testTimeout: 120_000, hookTimeout: 120_000 },
      },
    ],
  },
});
