// What a dishonest or broken worker may send instead of its gradient: a table of ways to spoil the messages of one push.
// Refuses to know connections and tasks; rogue-worker.ts commits the deeds.
import { crc32c } from '#proto/crc32c.js';
import { sealedEnd } from '#proto/contribution-seal.js';
import type { Block, PushEnd, PushGradientRequest, PushHeader } from '#proto/generated/lockstep/v1/reducer.js';

export const misdeedNames = [
  'honest',
  'twice',
  'late',
  'stale version',
  'not finite',
  'other layout',
  'short block',
  'block missing',
  'no end',
  'flipped bit',
  'broken seal',
  'other samples',
  'other bits',
] as const;
export type Misdeed = (typeof misdeedNames)[number];

/** Spoils one push; sees its messages in order and says what is sent for each. */
export type Spoiler = (message: PushGradientRequest) => PushGradientRequest[];

/** `twice` and `late` concern whole pushes rather than messages, and leave them as they are. */
export function spoilerFor(misdeed: Misdeed): Spoiler {
  let header: PushHeader | undefined;
  const changes = changesOf(misdeed);
  return ({ message }) => {
    switch (message?.$case) {
      case 'header':
        header = { ...message.value, ...changes.header?.(message.value) };
        return [{ message: { $case: 'header', value: header } }];
      case 'block': {
        const value = changes.block === undefined ? message.value : changes.block(message.value);
        return value === undefined ? [] : [{ message: { $case: 'block', value } }];
      }
      case 'end': {
        // Header and totals are sealed together: whoever changes one knows how to seal.
        const sealed = sealedEnd(header!, { ...message.value.totals!, ...changes.totals });
        const value = changes.end === undefined ? sealed : changes.end(sealed);
        return value === undefined ? [] : [{ message: { $case: 'end', value } }];
      }
      case undefined:
        return [];
    }
  };
}

interface Changes {
  readonly header?: (header: PushHeader) => Partial<PushHeader>;
  /** Undefined: it is left out. */
  readonly block?: (block: Block) => Block | undefined;
  readonly totals?: Partial<NonNullable<PushEnd['totals']>>;
  /** Undefined: it is left out. */
  readonly end?: (end: PushEnd) => PushEnd | undefined;
}

function changesOf(misdeed: Misdeed): Changes {
  switch (misdeed) {
    case 'honest':
    case 'twice':
    case 'late':
      return {};
    case 'stale version':
      return {
        header: ({ version }) => ({ version: version && { ...version, checksum: (version.checksum ^ 1) >>> 0 } }),
      };
    case 'other layout':
      return { header: () => ({ layoutHash: 'f'.repeat(64) }) };
    case 'not finite':
      return {
        block: (block) =>
          rechecked(block, (data) => data.writeFloatLE(Number.NaN, data.length - (data.length % 8) - 8)),
      };
    case 'other bits':
      return { block: (block) => rechecked(block, (data) => (data[0]! ^= 1)) };
    case 'short block':
      return {
        block: ({ index, data }) => {
          const shorter = data.subarray(0, data.length - 4);
          return { index, data: shorter, checksum: crc32c(shorter), inSegment: false };
        },
      };
    case 'block missing':
      return { block: () => undefined };
    case 'no end':
      return { end: () => undefined };
    case 'flipped bit':
      return {
        block: (block) => ({ ...rechecked(block, (data) => (data[data.length >> 1]! ^= 4)), checksum: block.checksum }),
      };
    case 'broken seal':
      return { end: (end) => ({ ...end, checksum: (end.checksum ^ 1) >>> 0 }) };
    case 'other samples':
      return { totals: { sampleIdsSha256: new Uint8Array(32) } };
  }
}

/** A copy with changed bytes and a checksum that fits them. */
function rechecked(block: Block, change: (data: Buffer) => unknown): Block {
  const data = Buffer.from(block.data);
  change(data);
  return { index: block.index, data, checksum: crc32c(data), inSegment: false };
}
