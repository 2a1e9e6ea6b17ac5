// What this machine computes with: CPU model, the instruction sets that matter to TensorFlow, NVIDIA devices.
// Refuses to know TensorFlow.
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { findProgram, runCommand, type Environment } from './subprocess.js';

export interface Cpu {
  readonly model: string;
  /** Of `avx`, `avx2`, `fma`, `avx512f`, `avx512_bf16`, `amx_bf16`, those that it has. */
  readonly instructionSets: readonly string[];
  /** bfloat16 arithmetic in hardware: training in bfloat16 is then the faster choice, and otherwise the slower. */
  readonly fastBfloat16: boolean;
}

const telling = ['avx', 'avx2', 'fma', 'avx512f', 'avx512_bf16', 'amx_bf16'];

/** Reads what Linux says about the CPU; elsewhere the instruction sets are unknown and left empty. */
export async function readCpu(cpuinfoPath = '/proc/cpuinfo'): Promise<Cpu> {
  const model = cpus()[0]?.model ?? process.arch;
  let text: string;
  try {
    text = await readFile(cpuinfoPath, 'utf8');
  } catch {
    // Not Linux, or /proc is hidden: nothing is known, so nothing fast is promised.
    return { model, instructionSets: [], fastBfloat16: false };
  }
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(text)?.[1]?.split(' '));
  const instructionSets = telling.filter((name) => flags.has(name));
  return { model, instructionSets, fastBfloat16: flags.has('avx512_bf16') || flags.has('amx_bf16') };
}

/** Names of the NVIDIA devices that the driver's own tool lists; empty where there is none. */
export async function listCudaDevices(environment: Environment): Promise<string[]> {
  const program = await findProgram(['nvidia-smi'], environment);
  if (program === undefined) return [];
  const result = await runCommand(program, ['--query-gpu=name', '--format=csv,noheader'], {
    environment,
    timeoutMs: 10_000,
  });
  return result.code === 0 ? result.stdout.split('\n').filter((line) => line.trim() !== '') : [];
}
