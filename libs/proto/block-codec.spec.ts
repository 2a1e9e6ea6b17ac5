import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBlockMessage, reducerService } from './block-codec.js';
import { isIntact, sealedEnd } from './contribution-seal.js';
import { TaskKind } from './generated/lockstep/v1/pool.js';
import {
  PullParametersResponse,
  PushGradientRequest,
  PushHeader,
  PushTotals,
  WireType,
} from './generated/lockstep/v1/reducer.js';

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('encodeBlockMessage', () => {
  it('gives the bytes that the generated code gives, for both messages', () => {
    const block = fc.record({
      ...{ index: uint32, data: fc.uint8Array({ maxLength: 300 }), checksum: uint32 },
      inSegment: fc.constant(false),
    });
    fc.assert(
      fc.property(block, (value) => {
        const encoded = encodeBlockMessage(value);
        const message = { $case: 'block', value } as const;
        expect(encoded.equals(PushGradientRequest.encode({ message }).finish())).toBe(true);
        expect(encoded.equals(PullParametersResponse.encode({ message }).finish())).toBe(true);
        const decoded = PushGradientRequest.decode(encoded).message;
        expect(decoded?.$case === 'block' && { ...decoded.value, data: Uint8Array.from(decoded.value.data) }).toEqual(
          value,
        );
      }),
    );
  });

  it('leaves other messages to the generated code', () => {
    const request: PushGradientRequest = { message: { $case: 'end', value: { totals: undefined, checksum: 5 } } };
    const bytes = reducerService.pushGradient.requestSerialize(request);
    expect(PushGradientRequest.decode(bytes)).toEqual(request);
  });
});

describe('the seal of a contribution', () => {
  const header = PushHeader.create({
    workerId: 'w',
    key: { jobId: 'j', lineage: 1, step: 2, round: 3, task: 4, kind: TaskKind.TRAIN },
    attempt: 1,
    version: { jobId: 'j', lineage: 1, version: 2, checksum: 77 },
    layoutHash: 'abc',
    wireType: WireType.BFLOAT16,
    blocks: 3,
  });
  const totals = PushTotals.create({
    samples: 64,
    sampleIdsSha256: new Uint8Array(32).fill(9),
    lossSum: 12.5,
    top1Hits: 3,
    computeSeconds: 0.25,
  });

  it('holds after both went over the wire', () => {
    const end = sealedEnd(header, totals);
    const received = PushHeader.decode(PushHeader.encode(header).finish());
    const sent = PushGradientRequest.encode({ message: { $case: 'end', value: end } }).finish();
    const { message } = PushGradientRequest.decode(sent);
    expect(message?.$case === 'end' && isIntact(received, message.value)).toBe(true);
  });

  it('breaks when any number of header or totals is another', () => {
    const end = sealedEnd(header, totals);
    expect(isIntact({ ...header, attempt: 2 }, end)).toBe(false);
    expect(isIntact({ ...header, layoutHash: 'abd' }, end)).toBe(false);
    expect(isIntact(header, { ...end, totals: { ...totals, lossSum: 12.25 } })).toBe(false);
    expect(isIntact(header, { ...end, totals: undefined })).toBe(false);
  });
});
