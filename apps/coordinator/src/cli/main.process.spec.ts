import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CompiledTree, compileTree } from './testing/compiled-tree.js';
import { LockstepProcess } from './testing/lockstep-process.js';

let tree: CompiledTree;
beforeAll(() => {
  tree = compileTree();
}, 60_000);
afterAll(() => tree.remove());

const verbs = [
  'setup',
  'doctor',
  'up',
  'coordinator',
  'worker',
  'demo',
  'submit',
  'jobs',
  'show',
  'watch',
  'pause',
  'resume',
  'checkpoint',
  'cancel',
  'delete',
];
verbs.push('workers', 'drain', 'audit', 'timeline', 'tune', 'export', 'import', 'predict', 'evaluate');

async function run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  // Port 9 (discard) is nobody's here.
  const process = new LockstepProcess(tree.cli, args, { LOCKSTEP_URL: 'http://127.0.0.1:9' });
  const { code } = await process.closed;
  return { code, stdout: process.stdout.join('\n'), stderr: process.stderr.join('\n') };
}

describe('lockstep', { timeout: 30_000 }, () => {
  it('has help with an example on every verb', async () => {
    const all = await run('--help');
    expect(all.code).toBe(0);
    const helps = await Promise.all(verbs.map(async (verb) => [verb, await run(verb, '--help')] as const));
    for (const [verb, help] of helps) {
      expect(all.stdout).toMatch(new RegExp(`^  ${verb} `, 'm'));
      expect(help.code, verb).toBe(0);
      expect(help.stdout, verb).toMatch(new RegExp(`Examples?:\\n  \\$ .*npx lockstep ${verb}`));
    }
    expect((await run('dataset', 'prepare', '--help')).stdout).toContain('$ npx lockstep dataset prepare cifar10');
  });

  it('exits with 2 on wrong usage, saying what is wrong', async () => {
    for (const [args, sentence] of [
      [[], /^Usage: lockstep/],
      [['nonsense'], /unknown command 'nonsense'/],
      [['jobs', '--nonsense'], /unknown option '--nonsense'/],
      [['show'], /missing required argument 'id'/],
      [['up', '--workers', 'many'], /whole number from 0 to 256/],
      [['up', '--http-port', '70000'], /whole number from 0 to 65535/],
      [['jobs', '--state', 'odd'], /queued, running/],
      [['submit'], /either a spec FILE or --preset/],
      [['submit', 'nowhere.json'], /nowhere\.json: there is no such file/],
      [['submit', '--preset', 'p', '--set', 'x'], /path=value/],
      [['tune', '--preset', 'resnet20-cifar'], /'resnet20-cifar' is not known; did you mean resnet20-cifar10/],
      [['jobs', '--url', 'nonsense'], /--url: "nonsense" is not an address/],
      [['dataset', 'prepare', 'mnist'], /cifar10/],
      [
        ['dataset', 'index', 'nowhere'],
        /^There is no folder or archive nowhere; looked for \/.*nowhere and \/.*datasets\/nowhere\. Put .*docs\/datasets\.md/,
      ],
      [['export', '--format', 'safetensors'], /required option '--checkpoint <path>'/],
      [['export', '--checkpoint', 'a', '--format', 'onnx'], /safetensors, savedmodel/],
      [['predict', '--checkpoint', 'a'], /missing required argument 'image'/],
      [['evaluate', '--checkpoint', 'a', '--crops', '5'], /choices are 1, 10/],
      [['evaluate', '--checkpoint', 'a', '--scales', '224,big'], /whole number from 32 to 2048/],
    ] as const) {
      const { code, stdout, stderr } = await run(...args);
      expect(stderr, args.join(' ')).toMatch(sentence);
      expect(code, args.join(' ')).toBe(2);
      expect(stdout).toBe('');
    }
  });

  it('says in one sentence that no coordinator answers, and exits with 1', async () => {
    for (const args of [['jobs'], ['show', '7'], ['watch', '7'], ['audit', '7'], ['submit', '--preset', 'p']]) {
      const { code, stderr } = await run(...args);
      expect(stderr).toMatch(
        /^No coordinator answers at http:\/\/127\.0\.0\.1:9.*; start one with `npx lockstep up` .*$/,
      );
      expect(code).toBe(1);
    }
  });
});
