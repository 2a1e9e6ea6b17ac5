import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { numericsClassOf, nvidiaModels, processorOf } from './numerics-class.js';

const cpuinfo = `processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9R14
flags\t\t: fpu avx2 fma amx_bf16 avx512f hypervisor avx512_bf16

processor\t: 1
model name\t: something else
`;

describe('numerics class', () => {
  it('names the processor and the extensions that kernels are chosen by', () => {
    expect(processorOf(cpuinfo)).toEqual({
      model: 'AMD EPYC 9R14',
      extensions: ['amx_bf16', 'avx2', 'avx512_bf16', 'avx512f', 'fma'],
    });
  });

  it('says so when a processor is unknown', () => {
    expect(processorOf('')).toEqual({ model: 'unknown', extensions: [] });
  });

  it('holds versions, flags and threads', () => {
    const flags = { TF_ENABLE_ONEDNN_OPTS: '1', TF_DETERMINISTIC_OPS: '1' };
    const facts = { tensorflowVersion: '2.21.0', deviceKind: 'cpu', kernels: '7' } as const;
    expect(numericsClassOf(facts, flags, 2, 'sharp 1', cpuinfo)).toEqual({
      tensorflowVersion: '2.21.0',
      flags: 'LOCKSTEP_KERNELS=7 TF_DETERMINISTIC_OPS=1 TF_ENABLE_ONEDNN_OPTS=1',
      deviceKind: 'cpu',
      deviceModel: 'AMD EPYC 9R14',
      instructionSet: 'amx_bf16,avx2,avx512_bf16,avx512f,fma',
      threads: 2,
      imageLibrary: 'sharp 1',
    });
  });

  it('of a GPU names the device instead of the processor', () => {
    const facts = { tensorflowVersion: '2.21.0', deviceKind: 'cuda', kernels: '' } as const;
    expect(numericsClassOf(facts, {}, 1, '', cpuinfo, () => 'NVIDIA Model 1')).toMatchObject({
      deviceModel: 'NVIDIA Model 1',
      instructionSet: '',
    });
  });

  it("reads the devices' models from the driver's files", () => {
    const folder = mkdtempSync(join(tmpdir(), 'lockstep-nvidia-'));
    expect(nvidiaModels(join(folder, 'missing'))).toBe('unknown NVIDIA device');
    for (const device of ['0000:01:00.0', '0000:02:00.0']) {
      mkdirSync(join(folder, device));
      writeFileSync(join(folder, device, 'information'), `Model: \t\t NVIDIA Model 1\nIRQ:   \t\t 12\n`);
    }
    expect(nvidiaModels(folder)).toBe('NVIDIA Model 1');
    rmSync(folder, { recursive: true });
  });
});
