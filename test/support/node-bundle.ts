// Owns: running a piece of the sources in a Node process of its own, from a test: bundled, so that no build has to exist.
// Refuses to know: what the piece does; it prints its result.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Bundles `entry` (a path from the repository's root) and runs it.
 * @param environment variables on top of this process's own
 * @returns what it printed on standard output
 */
export async function runInNode(
  entry: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<string> {
  // Inside the repository, so that packages are found.
  const folder = mkdtempSync(path.join(root, 'node_modules', '.lockstep-test-'));
  try {
    await build({
      configFile: false,
      root,
      logLevel: 'silent',
      resolve: { conditions: ['lockstep-source'] },
      ssr: { resolve: { conditions: ['lockstep-source'] } },
      build: { ssr: path.join(root, entry), outDir: folder, target: 'node20', minify: false },
    });
    const script = path.join(folder, `${path.basename(entry, '.ts')}.js`);
    const { stdout } = await promisify(execFile)(process.execPath, [script, ...args], {
      env: { ...process.env, ...environment },
      maxBuffer: 1 << 24,
    });
    return stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
