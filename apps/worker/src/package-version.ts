// Finds the versions of packages from their manifests, without loading them.
// Refuses to know what a version means.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Version of an installed package, or of the one that this file belongs to. Throws an Error where there is none. */
export function packageVersion(name: string): string {
  const here = fileURLToPath(import.meta.url);
  const start = name === 'lockstep' ? here : createRequire(here).resolve(name);
  // Packages need not export their manifest, so it is looked for upwards from a file that they do export.
  for (let folder = dirname(start); folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
    if (manifest.name === name && manifest.version !== undefined) return manifest.version;
  }
  throw new Error(`No manifest of the package ${name} can be found; run \`npm ci\`.`);
}
