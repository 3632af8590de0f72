/**
 * Tier check: what the tier has, and whether it still is what was sent: every object that a manifest names is read and compared with the sums that
 * the manifest and the index object have. It writes nothing, and goes on after each finding.
 * Neighbours: `playhead tier ls` and `playhead tier verify`.
 */
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { ManifestStore } from './manifest-store.ts'
import type { ObjectStore } from './object-store.ts'
import { indexObject, sumsBytes } from './remote-file.ts'
import { readBack } from './segment-upload.ts'
import { TierLog } from './tier-log.ts'
import { tierKeys } from './tier-manifest.ts'
import { listTierTopics } from './tier-topics.ts'
import type { TierTopic } from './tier-topics.ts'

export interface CheckOptions {
  readonly store: ObjectStore
  /** For pages of manifests. */
  readonly scratchDirectory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
}

export interface TierLogFound {
  readonly topic: TierTopic
  readonly log: TierLog
}

export interface TierDamage {
  readonly topic: string
  readonly partition: number
  readonly key: string
  readonly problem: string
}

export interface TierVerdict {
  readonly partitions: number
  readonly segments: number
  readonly records: number
  readonly bytes: number
  readonly damage: readonly TierDamage[]
}

/** Every log of the tier, as of its newest manifest. Throws tierUnavailable, tierRefused, damagedData. */
export async function* tierLogs(options: CheckOptions): AsyncGenerator<TierLogFound> {
  const { store, scratchDirectory, fileSystem, clock, random } = options
  const manifests = new ManifestStore(store, clock)
  const context = { fileSystem, clock, random, store, manifests, directory: scratchDirectory }
  for (const topic of await listTierTopics(store, clock)) {
    if (topic.deletedMs !== undefined) continue
    for (let partition = 0; partition < topic.partitions; partition++) {
      const log = new TierLog(context, topic.id, partition)
      const manifest = await manifests.latest(topic.id, partition)
      if (manifest !== undefined) await log.adopt(manifest)
      yield { topic, log }
    }
  }
}

/** Reads everything. `onSegment` is called after each segment with the bytes read for it. */
export async function verifyTier(options: CheckOptions, onSegment: (bytes: number) => void): Promise<TierVerdict> {
  const damage: TierDamage[] = []
  let [partitions, segments, records, bytes] = [0, 0, 0, 0]
  for await (const { topic, log } of tierLogs(options)) {
    partitions++
    for (const { id, footer } of log.segments) {
      const segment = log.segment(footer.baseOffset)
      if (segment === undefined) continue
      segments++
      records += footer.records
      const key = tierKeys.segment(log.topicId, log.partition, footer.baseOffset, id)
      try {
        const read = await verifySegment(options, log, segment, key)
        bytes += read
        onSegment(read)
      } catch (error) {
        if (!(error instanceof PlayheadError)) throw error
        damage.push({ topic: topic.name, partition: log.partition, key, problem: error.message })
      }
    }
  }
  return { partitions, segments, records, bytes, damage }
}

async function verifySegment(
  { store, clock }: CheckOptions,
  log: TierLog,
  segment: NonNullable<ReturnType<TierLog['segment']>>,
  key: string,
): Promise<number> {
  const { signal } = new AbortController()
  const index = indexObject(log, segment)
  const indexBytes = await readBack({ store, clock, signal }, index)
  const sums = Buffer.alloc(sumsBytes(segment.footer.segmentBytes))
  await store.read(index.key, 0, sums)
  return indexBytes + (await readBack({ store, clock, signal }, { key, sizeBytes: segment.footer.segmentBytes, sums }))
}
