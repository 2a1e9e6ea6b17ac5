// The demo as a user runs it, in a data folder of its own: how long it takes, how fast it trains, how good it gets.
// Refuses to know how: reads what the demo prints.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { cli, temporaryFolder } from './local-system.js';
import { printTable } from './table.js';

const dataDir = temporaryFolder();
try {
  const child = spawn(process.execPath, [cli, 'demo'], {
    env: { ...process.env, LOCKSTEP_DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    process.stderr.write(chunk);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`The demo ended with exit code ${code}.`);
  const found = (pattern: RegExp): string => pattern.exec(text)?.[1] ?? '?';
  printTable({
    title: '`npm run demo`: ResNet-20 on CIFAR-10, 3 epochs, batch 128, two workers with one TensorFlow thread each',
    columns: ['', 'set-up', 'training', 'images/s', 'test accuracy'],
    rows: [
      [
        `precision ${found(/precision (\w+)/)}`,
        found(/^set-up (.+?), training/m),
        found(/, training (.+?) \(/),
        found(/\(([\d,]+) images\/s/),
        found(/^test accuracy ([\d.]+ %)$/m),
      ],
    ],
    notes: [
      'Everything had been fetched and built before. The rate counts the evaluations between epochs as part of the time.',
    ],
  });
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}
