/**
 * Which partition a stream lives in: Kafka's murmur2 over the key, so that any Kafka client's default partitioner agrees.
 * The rule of a topic (`partition.by`) is `key`, or `prefix:<separator>` = the part of the key before the first separator.
 * Clients choose with it, the broker checks with it.
 */
import assert from 'node:assert/strict'
import { streamNameBytesMax } from './limits.ts'
import { checkKey } from './names.ts'

const SEED = 0x9747_b28c | 0
const MULTIPLIER = 0x5bd1_e995
const NOT_ASCII = 0x8080_8080 | 0
const PREFIX_RULE = 'prefix:'

/** Holds a text key while it is hashed; longer keys than any stream name get their own buffer. */
const scratch = Buffer.allocUnsafeSlow(4096)

/** All bytes that the last murmur2 saw, OR-ed in fours: to look at them again would cost as much as the hash. */
let bitsSeen = 0

/** Kafka's murmur2 of bytes `from` … `to` (exclusive), as a signed 32-bit integer. */
export function murmur2(bytes: Buffer, from = 0, to = bytes.length): number {
  const length = to - from
  let hash = SEED ^ length
  let seen = 0
  let at = from
  for (const fours = to - (length % 4); at < fours; at += 4) {
    let k = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    seen |= k
    k = Math.imul(k, MULTIPLIER)
    k ^= k >>> 24
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(k, MULTIPLIER)
  }
  const rest = length % 4
  if (rest > 0) {
    let k = bytes[at]!
    if (rest >= 2) k |= bytes[at + 1]! << 8
    if (rest === 3) k |= bytes[at + 2]! << 16
    seen |= k
    hash = Math.imul(hash ^ k, MULTIPLIER)
  }
  bitsSeen = seen
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}

/** The murmur2 of a record's key at bytes `from` … `to` (exclusive) that is checked on the way. Throws invalidStream unless it is a stream name. */
export function streamKeyHash(bytes: Buffer, from: number, to: number): number {
  const hash = murmur2(bytes, from, to)
  // Nearly all keys are ASCII, which is always UTF-8.
  if ((bitsSeen & NOT_ASCII) !== 0 || to <= from || to - from > streamNameBytesMax) checkKey(bytes, from, to)
  return hash
}

/** The partition, 0 … partitions - 1, that the key belongs to under a topic's `partition.by` setting. */
export function partitionOf(key: string | Buffer, partitions: number, partitionBy: string): number {
  assert(Number.isInteger(partitions) && partitions > 0)
  if (partitions === 1) return 0
  if (typeof key !== 'string') return partitionOfKey(key, 0, key.length, partitions, partitionBy)
  const bytes = key.length * 3 <= scratch.length ? scratch : Buffer.allocUnsafeSlow(Buffer.byteLength(key))
  return partitionOfKey(bytes, 0, bytes.write(key, 0), partitions, partitionBy)
}

/** The same for the key at bytes `from` … `to` (exclusive). `hash`: its murmur2, if that is known. */
export function partitionOfKey(
  bytes: Buffer,
  from: number,
  to: number,
  partitions: number,
  partitionBy: string,
  hash?: number,
): number {
  if (partitionBy.startsWith(PREFIX_RULE)) {
    const separatorAt = bytes.subarray(from, to).indexOf(partitionBy.slice(PREFIX_RULE.length))
    if (separatorAt >= 0) return partitionOfHash(murmur2(bytes, from, from + separatorAt), partitions)
  }
  return partitionOfHash(hash ?? murmur2(bytes, from, to), partitions)
}

function partitionOfHash(hash: number, partitions: number): number {
  return (hash & 0x7fff_ffff) % partitions
}
