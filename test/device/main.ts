// `npm run test:device`: gradients, determinism, memory and images/s of a CUDA device in one run, with a report in a folder.
// Refuses to pass where there is no device: exit code 3. `--cpu` runs the same checks on the CPU, to try them out.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../apps/coordinator/src/config.js';
import { listCudaDevices } from '../../apps/coordinator/src/setup/cpu.js';
import { streamReporter } from '../../apps/coordinator/src/setup/progress.js';
import { SetupError } from '../../apps/coordinator/src/setup/setup-error.js';
import { setup } from '../../apps/coordinator/src/setup/setup.js';
import { tensorflowEnvironment } from '../../apps/worker/src/config.js';
import { machineLine } from '../bench/machine.js';
import { determinism, type Finding, gradients, memory, type Probe, type Rate, rates } from './checks.js';
import type { ProbeAnswer } from './probe.js';
import { markdownOf } from './report.js';

const noDevice = 3;
const probeLimitMs = 20 * 60_000;

const { values } = parseArgs({ options: { cpu: { type: 'boolean' }, out: { type: 'string' } } });
try {
  process.exitCode = await main(values.cpu === true, resolve(values.out ?? 'device-report'));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

async function main(onCpu: boolean, out: string): Promise<number> {
  const devices = await listCudaDevices(process.env);
  if (!onCpu && devices.length === 0) {
    console.error(
      'There is no CUDA device here (nvidia-smi lists none): nothing was tested. `-- --cpu` tries the checks on the CPU.',
    );
    return noDevice;
  }
  const { cacheDir, tensorflowDir } = loadConfig(process.env);
  const flavour = onCpu ? {} : ({ flavour: 'cuda' } as const);
  // No queue is needed: none is fetched.
  const redisUrl = 'redis://not-needed';
  await setup({ cacheDir, tensorflowDir, redisUrl, ...flavour, report: streamReporter(process.stderr) });
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-device-'));
  try {
    const plan = { probe: probeOn(onCpu), folder, large: !onCpu };
    const findings: Finding[] = [];
    for (const check of [gradients, determinism, memory]) {
      console.error(`${check.name} …`);
      findings.push(...(await check(plan)));
    }
    console.error('images/s …');
    const speed: Rate[] = await rates(plan);
    const facts = { machine: machineLine(), devices: onCpu ? ['none: the CPU, to try the checks out'] : devices };
    mkdirSync(out, { recursive: true });
    const text = markdownOf(facts, findings, speed);
    writeFileSync(join(out, 'report.md'), text);
    writeFileSync(join(out, 'report.json'), `${JSON.stringify({ ...facts, findings, rates: speed }, undefined, 2)}\n`);
    console.log(text);
    console.error(`The report is in ${out}.`);
    return findings.every(({ ok }) => ok) ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A process of its own for each probe: TensorFlow chooses device and kernels once per process. */
function probeOn(onCpu: boolean): Probe {
  return async (where, order, environment = {}) => {
    const reference = where === 'reference' ? { CUDA_VISIBLE_DEVICES: '' } : {};
    const env = { ...process.env, ...tensorflowEnvironment(1), ...environment, ...reference };
    const program = fileURLToPath(new URL('probe.js', import.meta.url));
    // TensorFlow is talkative; what it said last is shown where the process fails.
    const child = fork(program, [], { env, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (said = `${said}${chunk}`.slice(-5_000)));
    const timer = setTimeout(kill, probeLimitMs);
    try {
      child.send(order);
      const ended = once(child, 'exit').then(([code, signal]) => {
        throw new Error(`A process that computed ${order.model.architecture} ended with ${code ?? signal}:\n${said}`);
      });
      const [answer] = (await Promise.race([once(child, 'message'), ended])) as [ProbeAnswer];
      ended.catch(() => undefined);
      if (where === 'device' && !onCpu && answer.device !== 'gpu') {
        throw new SetupError(
          `TensorFlow ${answer.tensorflow} does not use the device.`,
          'Run `npx lockstep doctor`; the NVIDIA driver must be new enough for CUDA 12.',
        );
      }
      return answer;
    } finally {
      clearTimeout(timer);
      process.off('exit', kill);
    }
  };
}
