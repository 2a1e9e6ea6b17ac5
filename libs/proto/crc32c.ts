// CRC32C (Castagnoli) of bytes. Refuses to know what the bytes mean.
// Only this part of aws-crt: its index brings clients for HTTP and MQTT with it.
import { crc32c as nativeCrc32c } from 'aws-crt/dist/native/checksums.js';

/**
 * Checksum of `data`, an unsigned 32-bit integer; `previous` is the checksum of the bytes before it, so that
 * `crc32c(b, crc32c(a))` is that of a and b in one piece. Views of SharedArrayBuffers are fine.
 */
export function crc32c(data: Uint8Array, previous = 0): number {
  // Its types ask for a Buffer; what it reads is any view of bytes.
  return nativeCrc32c(data as Buffer, previous);
}
