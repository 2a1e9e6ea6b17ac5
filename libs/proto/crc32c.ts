// CRC32C (Castagnoli) of bytes. Refuses to know what the bytes mean.
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/**
 * Checksum of `data`, an unsigned 32-bit integer; `previous` is the checksum of the bytes before it, so that
 * `crc32c(b, crc32c(a))` is that of a and b in one piece. Views of SharedArrayBuffers are fine.
 */
export function crc32c(data: Uint8Array, previous = 0): number {
  return nativeCrc32c(data, previous);
}
