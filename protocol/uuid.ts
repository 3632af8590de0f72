/** UUIDs as 16 raw bytes, and their text. Event ids are version 7: time first, so that ids made later sort later. */
import assert from 'node:assert/strict'
import { PlayheadError } from './errors.ts'

const uuidText = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
export const UUID_BYTES = 16

//  0            6              8                  16
//  | u48 BE ms  | 7 | 12 bits  | 10 | 62 bits    |     the bits are those of `random`

/** A UUIDv7 of the time `nowMs` (ms since the epoch, ≥ 0) and at least 10 random bytes. */
export function uuidV7(random: Buffer, nowMs: number): Buffer {
  assert(random.length >= 10)
  const id = Buffer.allocUnsafe(UUID_BYTES)
  random.copy(id, 6, 0, 10)
  stampUuidV7(id, nowMs)
  return id
}

/** Makes 16 random bytes a UUIDv7 of the time `nowMs` (ms since the epoch, ≥ 0), in place. */
export function stampUuidV7(id: Buffer, nowMs: number): void {
  assert(id.length === UUID_BYTES && nowMs >= 0)
  id.writeUIntBE(Math.floor(nowMs), 0, 6)
  id[6] = 0x70 | (id[6]! & 0x0f)
  id[8] = 0x80 | (id[8]! & 0x3f)
}

/** 16 bytes as `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`. */
export function formatUuid(id: Buffer): string {
  assert(id.length === UUID_BYTES)
  const hex = id.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The 16 bytes of a UUID of any version. Throws invalidEvent when the text is none. */
export function parseUuid(text: string): Buffer {
  if (!uuidText.test(text)) {
    throw new PlayheadError(
      'invalidEvent',
      `event id: found ${JSON.stringify(text.slice(0, 64))}, wanted a UUID such as 0190b7f2-5c1e-7c3a-9b41-2f6d1a0e8c55`,
    )
  }
  return Buffer.from(text.replaceAll('-', ''), 'hex')
}
