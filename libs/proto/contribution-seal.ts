// The checksum that closes a contribution: over its header and its totals, which no block checksum covers.
// Refuses to know what becomes of a contribution whose seal is broken.
import { crc32c } from './crc32c.js';
import { type PushEnd, PushHeader, PushTotals } from './generated/lockstep/v1/reducer.js';

/** CRC32C of the encoded header followed by the encoded totals. */
export function sealOf(header: PushHeader, totals: PushTotals): number {
  return crc32c(PushTotals.encode(totals).finish(), crc32c(PushHeader.encode(header).finish()));
}

/** The last message of a push. */
export function sealedEnd(header: PushHeader, totals: PushTotals): PushEnd {
  return { totals, checksum: sealOf(header, totals) };
}

/** True when header and totals arrived as they were sent. */
export function isIntact(header: PushHeader, end: PushEnd): boolean {
  return end.totals !== undefined && sealOf(header, end.totals) === end.checksum;
}
