/** What the counts of the tier mean, one row each: `sentBytes` is published as playhead_tier_sent_bytes_total. Called by metrics.ts. */
import type { Tier } from '../storage/tier/tier.ts'

/** By the key in Tier.stats. */
export const tierMetricHelp: Readonly<Record<keyof Tier['stats'], string>> = {
  sentSegments: 'Segments sent to the tier.',
  sentBytes: 'Bytes sent to the tier.',
  letGoSegments: 'Segments removed from this disk because the tier has them.',
  orphans: 'Objects removed from the tier that nothing referred to.',
  failures: 'Rounds of sending that failed and are tried again.',
  requests: 'Requests to the object storage.',
  retries: 'Requests to the object storage that were repeats.',
  storeFailures: 'Requests to the object storage that failed.',
  readBytes: 'Bytes read from the tier.',
  cachedBytes: 'Bytes of the tier that were on this disk already.',
  wrongBlocks: 'Blocks that were not what the tier was given; they are read again.',
  segments: 'Segments in the tier.',
  localBytes: 'Bytes of segments on this disk, as of the last look.',
  unsentBytes: 'Bytes of sealed segments that the tier does not have yet.',
  cacheBytes: 'Disk that blocks of the tier take, 128 KiB each, however short.',
  memoryBytes: 'Memory that blocks of the tier take.',
}

/** Amounts of now, which go up and down. */
export const presentTierAmounts: ReadonlySet<string> = new Set([
  'segments',
  'localBytes',
  'unsentBytes',
  'cacheBytes',
  'memoryBytes',
])
