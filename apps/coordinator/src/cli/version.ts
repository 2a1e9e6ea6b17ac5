// The version of the package that this file belongs to, source or compiled.
// Refuses to know who asks.
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  for (let folder = new URL('./', import.meta.url); folder.pathname !== '/'; folder = new URL('../', folder)) {
    try {
      const manifest = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as Record<string, unknown>;
      return String(manifest['version']);
    } catch {
      // No package here: it is a folder further up.
    }
  }
  return 'unknown';
}
