// Where the programs lie that the CLI starts: by path, as the two apps never import each other.
// Refuses to know what they do.
import { fileURLToPath } from 'node:url';

function beside(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}

/** Compiled entry of the coordinator. */
export const coordinatorEntry = beside('../main.js');
/** Compiled entry of the worker. */
export const workerEntry = beside('../../../worker/src/main.js');
