// The index of a dataset of ImageNet's size: time to put it together, its size, and how fast another process loads it, in how
// much memory. Entries are synthetic: looking at files is the disk's speed, not Lockstep's.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageIndexBuilder, loadIndex, saveIndex } from '#model/datasets/image-index.js';
import { emptyReport } from '#model/datasets/image-report.js';
import { formatted, printTable, quantile } from './table.js';

/** ImageNet's (ILSVRC 2012). */
const trainCount = 1_281_167;
const testCount = 50_000;
const classes = 1000;
const loads = 5;

interface Loaded {
  readonly seconds: number;
  readonly megabytes: number;
}

function build(): Uint8Array {
  const builder = new ImageIndexBuilder();
  const names = Array.from(
    { length: classes },
    (_, number) => `n${String(1_440_764 + 6607 * number).padStart(8, '0')}`,
  );
  for (let id = 0; id < trainCount + testCount; id++) {
    const test = id >= trainCount;
    const of = test ? id - trainCount : id;
    const label = Math.floor((of * classes) / (test ? testCount : trainCount));
    builder.add({
      container: test ? classes + label : label,
      label,
      name: test
        ? `ILSVRC2012_val_${String(of + 1).padStart(8, '0')}.JPEG`
        : `${names[label]!}_${(id * 7919) % 99_999}.JPEG`,
      bytes: 50_000 + ((id * 31) % 120_000),
      offset: 0,
      checksum: 0,
      modifiedMs: 1.6e12 + id,
      traits: 0,
    });
  }
  const containers = [...names.map((name) => `train/${name}`), ...names.map((name) => `val/${name}`)];
  const head = { kind: 'imagefolder', classNames: names, containers, trainCount, contents: false } as const;
  return builder.encode(head, {
    report: emptyReport(),
    stamps: Object.fromEntries(containers.map((name) => [name, '1600000000000.123 40960'])),
  });
}

/** In a process of its own, so that nothing is in memory but the index. */
async function load(file: string): Promise<Loaded> {
  const before = process.memoryUsage().rss;
  const started = performance.now();
  const index = await loadIndex(file);
  const seconds = (performance.now() - started) / 1000;
  if (index?.row('test', testCount - 1) !== trainCount + testCount - 1) throw new Error('the index is not whole');
  return { seconds, megabytes: (process.memoryUsage().rss - before) / 1e6 };
}

async function compare(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-bench-index-'));
  try {
    const file = join(folder, 'index');
    const started = performance.now();
    await saveIndex(file, build());
    const made = (performance.now() - started) / 1000;
    const loaded: Loaded[] = [];
    for (let run = 0; run < loads; run++) {
      const child = fork(import.meta.filename, ['load', file]);
      const [answer] = (await once(child, 'message')) as [Loaded];
      loaded.push(answer);
    }
    const { size } = await stat(file);
    const count = trainCount + testCount;
    printTable({
      title: `Index of ${formatted(count, 0)} images in ${formatted(2 * classes, 0)} folders`,
      columns: ['', 'value'],
      rows: [
        ['put together and written, s', formatted(made, 2)],
        ['size, MB', formatted(size / 1e6, 1)],
        ['bytes per image', formatted(size / count, 1)],
        [
          'loaded and checked against its hash, s',
          formatted(
            quantile(
              loaded.map(({ seconds }) => seconds),
              0.5,
            ),
            2,
          ),
        ],
        [
          'memory that it takes, MB',
          formatted(
            quantile(
              loaded.map(({ megabytes }) => megabytes),
              0.5,
            ),
            0,
          ),
        ],
      ],
      notes: [`Loading: medians of ${loads} processes, the file in the page cache. Synthetic entries.`],
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (process.argv[2] === 'load') process.send?.(await load(process.argv[3]!));
else await compare();
