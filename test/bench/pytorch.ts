// PyTorch measured beside Lockstep, where LOCKSTEP_PARITY_PYTHON names a Python that has it. Scripts lie beside the sources.
// Refuses to install anything and to know what is compared.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The one JSON object that a script prints; undefined without a Python. Throws where the script fails. */
export async function pytorch<Answer>(script: string, args: readonly string[]): Promise<Answer | undefined> {
  const python = process.env['LOCKSTEP_PARITY_PYTHON'];
  if (python === undefined || python === '') return undefined;
  // Compiled files lie under dist/, the scripts in the source tree.
  const path = fileURLToPath(new URL(`../../../test/bench/${script}`, import.meta.url));
  const child = spawn(python, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => child.kill());
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${python} ${path} ended with exit code ${code}.`);
  return JSON.parse(text) as Answer;
}
