// Says which numerics class this worker belongs to: everything on this machine that the bits of a gradient depend on.
// Refuses to know jobs; the precision belongs to the class too, but is the job's to say.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NumericsClass } from '#proto/generated/lockstep/v1/pool.js';
import type { ComputeFacts } from './compute-protocol.js';

/** Extensions that TensorFlow, Eigen and oneDNN choose kernels by, as Linux names them. */
const dispatchedExtensions = new Set([
  'sse4_2',
  'avx',
  'avx2',
  'fma',
  'f16c',
  'avx_vnni',
  'avx_vnni_int8',
  'avx_ne_convert',
  'avx512f',
  'avx512bw',
  'avx512cd',
  'avx512dq',
  'avx512vl',
  'avx512_vnni',
  'avx512_bf16',
  'avx512_fp16',
  'amx_tile',
  'amx_int8',
  'amx_bf16',
  'amx_fp16',
]);

/** Model name and extensions of the first processor in the text of /proc/cpuinfo. */
export function processorOf(cpuinfo: string): { readonly model: string; readonly extensions: readonly string[] } {
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(cpuinfo)?.[1]?.trim() ?? '';
  const extensions = field('flags')
    .split(/\s+/)
    .filter((flag) => dispatchedExtensions.has(flag));
  return { model: field('model name') || 'unknown', extensions: extensions.sort() };
}

/** Model names of the NVIDIA devices that the driver tells of in its folder below /proc, each once. */
export function nvidiaModels(folder = '/proc/driver/nvidia/gpus'): string {
  let devices: string[];
  try {
    devices = readdirSync(folder);
  } catch {
    // A container may hide the folder though the device can be used.
    return 'unknown NVIDIA device';
  }
  const models = devices.map((device) => {
    const text = readFileSync(join(folder, device, 'information'), 'utf8');
    return /^Model:\s*(.+)$/m.exec(text)?.[1]?.trim() ?? 'unknown NVIDIA device';
  });
  return [...new Set(models)].toSorted().join(', ') || 'unknown NVIDIA device';
}

/**
 * The class, from what the compute thread found and `flags`, the settings of TensorFlow that change kernels; ours are named
 * beside them. The library that decodes images belongs to it whatever a job trains on: workers have one queue, and one
 * version of Lockstep has one library.
 */
export function numericsClassOf(
  facts: ComputeFacts,
  flags: Readonly<Record<string, string>>,
  threads: number,
  imageLibrary: string,
  cpuinfo: string = readFileSync('/proc/cpuinfo', 'utf8'),
  nvidia: () => string = nvidiaModels,
): NumericsClass {
  const processor = processorOf(cpuinfo);
  return {
    tensorflowVersion: facts.tensorflowVersion,
    flags: Object.entries(facts.kernels === '' ? flags : { ...flags, LOCKSTEP_KERNELS: facts.kernels })
      .map(([name, value]) => `${name}=${value}`)
      .sort()
      .join(' '),
    deviceKind: facts.deviceKind,
    deviceModel: facts.deviceKind === 'cpu' ? processor.model : nvidia(),
    // Host-side work of a GPU worker has no part in gradients.
    instructionSet: facts.deviceKind === 'cpu' ? processor.extensions.join(',') : '',
    threads,
    imageLibrary,
  };
}
