/**
 * LmdbFile: a look at an LMDB data file before lmdb maps it, because lmdb 3.5 does not refuse a file of another kind or one that was cut
 * off: it ends the process. Only the two meta pages are looked at: damage behind them is for checksums of values.
 * And a look at the room on its disk before lmdb writes: where that fails, lmdb 3.5 makes a text longer than the memory it has taken for it
 * (mdb_page_flush), and the process ends sooner or later.
 * Called by processing/lmdb-view-store.ts and storage/lmdb-checkpoint-store.ts.
 *
 *   each of the first two pages, LE; the one with the higher transaction is in force
 *   0             24                 28           32        40         48               52            144             152
 *   | page header | 0xBEEFC0DE u32   | format u32 | address | map size | page bytes u32 | … trees … | last page u64 | transaction u64 |
 */
import { closeSync, fstatSync, openSync, readSync, statSync, statfsSync } from 'node:fs'
import { join } from 'node:path'

const magicAt = 24
const magic = 0xbeefc0de
const pageBytesAt = 48
const lastPageAt = 144
const transactionAt = 152
/** The smallest page; the second meta page of a file with larger ones is not where we look, and then only the first is. */
const pageBytes = 4096
/** Pages at the end that were used and freed within one transaction are never written, so a sound file may lack a few. */
const slackPages = 64n

/** Left for everybody else, and for what is not counted: inner pages, lists of free pages. */
const spareBytes = 8 * 1024 * 1024
/** A write makes copies of the pages it changes, at most all of them. */
const copiesPerPut = 2

/** What is wrong with the data file in `directory`, in words; undefined when it is missing, empty, or looks like LMDB's. */
export function lmdbFileProblem(directory: string): string | undefined {
  let file: number
  try {
    file = openSync(join(directory, 'data.mdb'), 'r')
  } catch {
    return undefined // not there, or not ours to read: lmdb says so itself
  }
  try {
    const start = Buffer.alloc(2 * pageBytes)
    const found = readSync(file, start, 0, start.length, 0)
    if (found === 0) return undefined
    if (found < start.length) return `a data file of ${found} bytes`
    if (start.readUInt32LE(magicAt) !== magic) return 'a data file of another kind'
    const second = start.readUInt32LE(pageBytes + magicAt) === magic ? pageBytes : 0
    const newest = start.readBigUInt64LE(second + transactionAt) > start.readBigUInt64LE(transactionAt) ? second : 0
    const wanted =
      (start.readBigUInt64LE(newest + lastPageAt) + 1n - slackPages) * BigInt(start.readUInt32LE(pageBytesAt))
    const sizeBytes = fstatSync(file).size
    return BigInt(sizeBytes) < wanted ? `a data file of ${sizeBytes} bytes, cut off` : undefined
  } finally {
    closeSync(file)
  }
}

/**
 * Why a transaction of `puts` values of `bytes` in all, keys included, must not be begun, in words; undefined when there is room for it. Synchronous,
 * so that nothing is written between this look and the transaction by the one who asks.
 */
export function lmdbRoomProblem(directory: string, puts: number, bytes: number): string | undefined {
  let freeBytes: number
  let fileBytes: number
  try {
    const { bavail, bsize } = statfsSync(directory)
    freeBytes = bavail * bsize
    fileBytes = statSync(join(directory, 'data.mdb')).size
  } catch {
    return undefined // lmdb says so itself
  }
  const wantedBytes = spareBytes + 2 * bytes + Math.min(fileBytes, puts * copiesPerPut * pageBytes)
  return freeBytes < wantedBytes ? `${freeBytes} bytes of disk free, wanted ${wantedBytes}` : undefined
}
