import { describe, expect, it } from 'vitest';
import { numericsClassOf, processorOf } from './numerics-class.js';

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
    expect(numericsClassOf({ tensorflowVersion: '2.21.0', deviceKind: 'cpu' }, flags, 2, 'sharp 1', cpuinfo)).toEqual({
      tensorflowVersion: '2.21.0',
      flags: 'TF_DETERMINISTIC_OPS=1 TF_ENABLE_ONEDNN_OPTS=1',
      deviceKind: 'cpu',
      deviceModel: 'AMD EPYC 9R14',
      instructionSet: 'amx_bf16,avx2,avx512_bf16,avx512f,fma',
      threads: 2,
      imageLibrary: 'sharp 1',
    });
  });
});
