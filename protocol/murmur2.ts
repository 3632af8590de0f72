/**
 * Which partition a stream lives in: Kafka's murmur2 over the key, so that any Kafka client's default partitioner agrees.
 * The rule of a topic (`partition.by`) is `key`, or `prefix:<separator>` = the part of the key before the first separator.
 * Clients choose with it, the broker checks with it.
 */
import assert from 'node:assert/strict'

const SEED = 0x9747_b28c | 0
const MULTIPLIER = 0x5bd1_e995
const PREFIX_RULE = 'prefix:'

/** Holds a text key while it is hashed; longer keys than any stream name get their own buffer. */
const scratch = Buffer.allocUnsafeSlow(4096)

/** Kafka's murmur2 of bytes `from` … `to` (exclusive), as a signed 32-bit integer. */
export function murmur2(bytes: Buffer, from = 0, to = bytes.length): number {
  const length = to - from
  let hash = SEED ^ length
  let at = from
  for (const fours = to - (length % 4); at < fours; at += 4) {
    let k = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    k = Math.imul(k, MULTIPLIER)
    k ^= k >>> 24
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(k, MULTIPLIER)
  }
  const rest = length % 4
  if (rest === 3) hash ^= bytes[at + 2]! << 16
  if (rest >= 2) hash ^= bytes[at + 1]! << 8
  if (rest >= 1) hash = Math.imul(hash ^ bytes[at]!, MULTIPLIER)
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}

/** The partition, 0 … partitions - 1, that the key belongs to under a topic's `partition.by` setting. */
export function partitionOf(key: string | Buffer, partitions: number, partitionBy: string): number {
  assert(Number.isInteger(partitions) && partitions > 0)
  if (partitions === 1) return 0
  let bytes: Buffer
  let to: number
  if (typeof key === 'string') {
    bytes = key.length * 3 <= scratch.length ? scratch : Buffer.allocUnsafeSlow(Buffer.byteLength(key))
    to = bytes.write(key, 0)
  } else {
    bytes = key
    to = key.length
  }
  if (partitionBy.startsWith(PREFIX_RULE)) {
    const separatorAt = bytes.indexOf(partitionBy.slice(PREFIX_RULE.length))
    if (separatorAt >= 0 && separatorAt < to) to = separatorAt
  }
  return (murmur2(bytes, 0, to) & 0x7fff_ffff) % partitions
}
