/**
 * RowIds: event ids derived from (file, row), so that importing a row again gives the same id. A UUIDv7 whose random bits are not random:
 *
 *   | u48 BE event time ms | 7 | 12 bits of the file's hash | 10 | 30 bits of the file's hash | u32 BE row |
 */
import { UUID_BYTES } from '../protocol/uuid.ts'

const timeMax = 2 ** 48 - 1
const rowMax = 2 ** 32

export class RowIds {
  readonly #high: number
  readonly #low: number

  /** `fileHash`: at least 6 bytes of a hash of the file's content. */
  constructor(fileHash: Buffer) {
    this.#high = fileHash.readUInt16BE(0) & 0x0fff
    this.#low = fileHash.readUInt32BE(2) & 0x3fffffff
  }

  /** The id of row `row` (from 0), 16 bytes of fresh memory. `timeMs` outside of what a UUIDv7 can say counts as the nearest it can. */
  idOf(row: number, timeMs: number): Buffer {
    const id = Buffer.allocUnsafe(UUID_BYTES)
    const time = Math.min(Math.max(timeMs, 0), timeMax)
    const timeHigh = Math.floor(time / 0x1_0000)
    writeUint32(id, 0, timeHigh)
    writeUint16(id, 4, time % 0x1_0000)
    writeUint16(id, 6, 0x7000 | this.#high)
    // Past 4,294,967,296 rows the hash bits change with the row, so that ids stay apart.
    writeUint32(id, 8, 0x8000_0000 | ((this.#low + Math.floor(row / rowMax)) & 0x3fff_ffff))
    writeUint32(id, 12, row % rowMax)
    return id
  }
}

// Plain stores: with an id for each row, the checks of Buffer's own writers show in the import's speed.
function writeUint16(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

function writeUint32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}
