import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CompiledTree, compileTree } from './testing/compiled-tree.js';
import { LockstepProcess } from './testing/lockstep-process.js';
import { StandInReports } from './testing/stand-in-reports.js';

const TIMEOUT_MS = 30_000;

let tree: CompiledTree;
let reports: StandInReports;
let started: LockstepProcess[];
let folders = 0;

beforeAll(() => {
  tree = compileTree();
}, TIMEOUT_MS);
afterAll(() => tree.remove());
beforeEach(async () => {
  reports = await StandInReports.start();
  started = [];
});
afterEach(async () => {
  for (const run of started) {
    run.kill('SIGKILL');
    await run.ended;
  }
  await reports.until(() => reports.living().length === 0);
  reports.close();
});

function newFolder(): string {
  folders += 1;
  return tree.dataDir(`up-${folders}`);
}

/** Port 0 by the environment: `up` then takes any free one, so that specs may run side by side. */
function lockstep(args: readonly string[], environment: Record<string, string> = {}): LockstepProcess {
  const run = new LockstepProcess(tree.cli, args, {
    LOCKSTEP_HTTP_PORT: '0',
    LOCKSTEP_GRPC_PORT: '0',
    STAND_IN_REPORT_PORT: String(reports.port),
    ...environment,
  });
  started.push(run);
  void run.ended.then(() => {
    started = started.filter((each) => each !== run);
  });
  return run;
}

async function upWithTwoWorkers(
  environment: Record<string, string> = {},
  folder = newFolder(),
): Promise<LockstepProcess> {
  const up = lockstep(['up', '--workers', '2', '--data-dir', folder], environment);
  await up.line(/^ready http:/);
  await reports.until(() => reports.living('worker').length === 2 && reports.living('coordinator').length === 1);
  return up;
}

/** Field 5 of /proc/PID/stat, after the name in brackets. */
function processGroupOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ')[2]);
}

describe('lockstep up', { timeout: TIMEOUT_MS }, () => {
  it('starts all in its process group and stops workers, then the coordinator, then Valkey', async () => {
    const up = await upWithTwoWorkers();
    expect(up.stdout).toEqual([expect.stringMatching(/^ready http:\/\/127\.0\.0\.1:\d+$/)]);
    await up.line(/^2 workers; .*REDIS_URL=redis:\/\/127\.0\.0\.1:\d+ .*npx lockstep worker$/);
    for (const { pid } of reports.living()) {
      expect(processGroupOf(pid)).toBe(up.pid);
    }
    up.kill('SIGTERM');
    expect(await up.ended).toEqual({ code: 0, signal: null });
    await reports.until(() => reports.living().length === 0);
    const order = reports.journal.filter((line) => line.startsWith('stopping')).map((line) => line.split(' ')[1]);
    expect(order).toEqual(['worker', 'worker', 'coordinator', 'valkey']);
  });

  it('lets workers finish at Ctrl-C, which reaches the whole process group', async () => {
    const up = await upWithTwoWorkers();
    up.killGroup('SIGINT');
    expect((await up.ended).code).toBe(0);
    await reports.until(() => reports.living().length === 0);
    for (const { role, said } of reports.standIns) {
      expect(said, role).toEqual(['stopping']);
    }
  });

  it('says nothing of a coordinator that Ctrl-C ends while it starts, and starts no other', async () => {
    const up = lockstep(['up', '--workers', '1', '--data-dir', newFolder()], {
      STAND_IN_COORDINATOR: 'starting',
      STAND_IN_WORKER: 'lingers',
    });
    await reports.until(() => reports.living('worker').length === 1 && reports.living('coordinator').length === 1);
    const [worker] = reports.living('worker');
    up.killGroup('SIGINT');
    await reports.until(() => worker!.said.includes('stopping') && reports.living('coordinator').length === 0);
    process.kill(worker!.pid, 'SIGUSR2');
    expect((await up.closed).code).toBe(130);
    expect(up.stderr.filter((line) => line.includes('coordinator'))).toEqual([]);
    expect(reports.standIns.filter(({ role }) => role === 'coordinator')).toHaveLength(1);
  });

  it('starts a killed worker, coordinator and Valkey again at once', async () => {
    await upWithTwoWorkers();
    for (const role of ['worker', 'coordinator', 'valkey', 'coordinator', 'worker']) {
      const victim = reports.living(role)[0]!;
      const others = reports.standIns.length;
      process.kill(victim.pid, 'SIGKILL');
      await reports.until(() => victim.gone && reports.standIns.slice(others).some((each) => each.role === role));
    }
  });

  it('does not start a drained worker again', async () => {
    const up = await upWithTwoWorkers();
    const victim = reports.living('worker')[0]!;
    process.kill(victim.pid, 'SIGUSR2');
    await up.line(/^worker \d was drained/);
    await reports.until(() => victim.gone);
    expect(reports.living('worker')).toHaveLength(1);
  });

  it('leaves nothing behind when it is killed with -9, not even a stopped worker, and can be started again at once', async () => {
    const folder = newFolder();
    const up = await upWithTwoWorkers({}, folder);
    const address = up.stdout[0]!;
    process.kill(reports.living('worker')[0]!.pid, 'SIGSTOP');
    up.kill('SIGKILL');
    const again = await upWithTwoWorkers({ LOCKSTEP_HTTP_PORT: new URL(address.slice('ready '.length)).port }, folder);
    expect(again.stdout[0]).toBe(address);
    await reports.until(() => reports.standIns.slice(0, 4).every((standIn) => standIn.gone));
  });

  it('refuses a data folder that another one has', async () => {
    const folder = newFolder();
    const first = await upWithTwoWorkers({}, folder);
    const second = lockstep(['up', '--data-dir', folder]);
    expect((await second.closed).code).toBe(1);
    expect(second.stderr.join('\n')).toContain(
      `data folder ${folder} is in use by another Lockstep (process ${first.pid})`,
    );
    expect(second.stdout).toEqual([]);
  });

  it('refuses a port that is taken, naming it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const up = lockstep(['up', '--data-dir', newFolder(), '--http-port', String(port)]);
    expect((await up.closed).code).toBe(1);
    expect(up.stderr).toEqual([expect.stringContaining(`Port ${port} on 127.0.0.1 is in use`)]);
    server.close();
  });

  it('gives up on a coordinator that fails again and again, with its last words', async () => {
    const up = lockstep(['up', '--workers', '1', '--data-dir', newFolder()], { STAND_IN_COORDINATOR: 'fails' });
    expect((await up.closed).code).toBe(1);
    expect(up.stderr.at(-1)).toMatch(
      /^coordinator cannot be kept alive: The ledger of job 7 cannot be read\. \(log: .*coordinator\.log\)$/,
    );
    await reports.until(() => reports.living().length === 0);
    expect(reports.standIns.filter(({ role }) => role === 'coordinator')).toHaveLength(5);
  });

  it('lists settings that cannot be used and exits with 2', async () => {
    const up = lockstep(['up', '--data-dir', newFolder()], { LOCKSTEP_HTTP_HOST: '0.0.0.0' });
    expect((await up.closed).code).toBe(2);
    expect(up.stderr.join('\n')).toContain('LOCKSTEP_API_TOKENS');
  });
});

describe('lockstep demo', { timeout: TIMEOUT_MS }, () => {
  it('trains to a test accuracy, ends what an earlier one left, and leaves nothing behind', async () => {
    const folder = newFolder();
    const demo = lockstep(['demo'], { LOCKSTEP_DATA_DIR: folder });
    expect((await demo.closed).code).toBe(0);
    await demo.line(/^set-up .* training 3 min 20 s/);
    expect(demo.stdout).toContain('test accuracy 76.4 %');
    const checkpoint = `${folder}/jobs/job-1/checkpoints/step-00000006`;
    expect(demo.stdout).toContain(`checkpoint ${checkpoint}`);
    expect(demo.stdout.slice(-2)).toEqual([
      `Everything is stopped. See it again: npx lockstep up --data-dir ${folder}`,
      `Next: npx lockstep evaluate --checkpoint ${checkpoint}`,
    ]);
    expect(reports.journal.some((line) => line.startsWith('cancelled old-job'))).toBe(true);
    await reports.until(() => reports.living().length === 0);
  });

  it('says why a job failed and exits with 1', async () => {
    const demo = lockstep(['demo'], { LOCKSTEP_DATA_DIR: newFolder(), STAND_IN_JOB: 'failed' });
    expect((await demo.ended).code).toBe(1);
    await demo.line(/^Job job-1 failed: The loss is not finite\.$/);
  });

  it('stops everything at Ctrl-C', async () => {
    const demo = lockstep(['demo'], { LOCKSTEP_DATA_DIR: newFolder(), STAND_IN_JOB: 'endless' });
    await demo.line(/^step \d\/6 /);
    demo.killGroup('SIGINT');
    expect((await demo.ended).code).toBe(130);
    await reports.until(() => reports.living().length === 0);
  });

  it('stays up with --keep until Ctrl-C', async () => {
    const demo = lockstep(['demo', '--keep'], { LOCKSTEP_DATA_DIR: newFolder() });
    await demo.line(/^Still up at http:/);
    await reports.until(() => reports.living('worker').length === 2 && reports.living('coordinator').length === 1);
    demo.killGroup('SIGINT');
    expect((await demo.ended).code).toBe(0);
    await reports.until(() => reports.living().length === 0);
  });
});
