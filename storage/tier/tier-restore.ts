/**
 * Tier restore: a data directory from the tier alone: topics with their ids and settings, copies of the manifests, the small facts of each log, and
 * an empty active segment behind the last one that was sent. No segment is copied: they are read through. The stream index is made from the
 * tiered sidecars when a broker starts on it.
 * Invariants: `broker.json` comes last, so what was interrupted is no data directory yet; taking over shuts the lost broker out of the tier, should
 * it still live.
 * Neighbours: the command line calls restoreTier, a broker that only reads calls attachTier.
 */
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { formatUuid, uuidV7 } from '../../protocol/uuid.ts'
import { dataFormatVersion } from '../data-directory.ts'
import { baseOffsetOfFile, decodeSegmentHeader, encodeSegmentHeader, segmentFileName } from '../segment-format.ts'
import { replaceFile, writeSmallFile } from '../small-file.ts'
import { topicIdBytes, writeTopicFile } from '../topic.ts'
import { ManifestStore } from './manifest-store.ts'
import { tierRefused } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import { TierLog } from './tier-log.ts'
import { tierFormatVersion, tierKeys } from './tier-manifest.ts'
import { becomeOwner, newestOwner } from './tier-owner.ts'
import { isSharedOwnerId } from './tier-sharing.ts'
import { listTierTopics } from './tier-topics.ts'
import type { TierTopic } from './tier-topics.ts'

export interface RestoreOptions {
  readonly store: ObjectStore
  readonly location: string
  readonly dataDirectory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
}

/** What a log is again. */
export interface RestoredPartition {
  readonly topic: string
  readonly partition: number
  readonly segments: number
  readonly bytes: number
  readonly records: number
  readonly startOffset: number
  /** The next record gets this offset. */
  readonly endOffset: number
  /** Of the last record, ms since the epoch; what was appended later is not in the tier. Null = there is none. */
  readonly lastAppendTimeMs: number | null
  /** Offsets that the tier does not have: of segments that were damaged when they were to be sent. */
  readonly missing: readonly { readonly offset: number; readonly nextOffset: number }[]
}

/** Throws invalidArgument when there is something in the data directory, tierRefused when there is no tier. */
export async function restoreTier(options: RestoreOptions): Promise<RestoredPartition[]> {
  const { store, fileSystem, dataDirectory } = options
  if ((await fileSystem.exists(dataDirectory)) && (await fileSystem.list(dataDirectory)).length > 0)
    throw new PlayheadError(
      'invalidArgument',
      `${dataDirectory}: found a directory that is not empty, wanted an empty or a new one; name another with --data, or remove what an interrupted restore left`,
    )
  const owner = await newestOwner(store, options.clock)
  if (owner === undefined) throw noTier(store)
  const attached = await attachLogs(options)
  const dataDirectoryId = newId(options)
  // What was a cluster's is another one from now on: none of its brokers may write there again.
  const clusterId = isSharedOwnerId(owner.dataDirectoryId) ? newId(options) : owner.clusterId
  const next = await becomeOwner(store, options.clock, { sequence: owner.sequence + 1, clusterId, dataDirectoryId })
  if (next.dataDirectoryId !== dataDirectoryId)
    throw tierRefused(store.location, 'another restore that took over at the same moment', 'one at a time')
  await writeBrokerFile(options, dataDirectoryId, clusterId, attached.epoch)
  return attached.partitions
}

/**
 * Brings a data directory that is only read from up to what the tier has now; makes it when there is none. Throws invalidArgument when the data
 * directory is one that was written to, tierRefused when there is no tier.
 */
export async function attachTier(options: RestoreOptions): Promise<RestoredPartition[]> {
  const { store, fileSystem, dataDirectory } = options
  const markPath = `${dataDirectory}/tier/read-only.json`
  if ((await fileSystem.exists(`${dataDirectory}/broker.json`)) && !(await fileSystem.exists(markPath)))
    throw new PlayheadError(
      'invalidArgument',
      `${dataDirectory}: found a data directory that a broker writes to, wanted one of its own for reading a tier; name another with --data`,
    )
  const owner = await newestOwner(store, options.clock)
  if (owner === undefined) throw noTier(store)
  await fileSystem.makeDirectory(`${dataDirectory}/tier`)
  await writeSmallFile(fileSystem, markPath, { location: options.location })
  const { partitions, epoch } = await attachLogs(options)
  if (!(await fileSystem.exists(`${dataDirectory}/broker.json`)))
    await writeBrokerFile(options, newId(options), owner.clusterId, epoch)
  return partitions
}

async function attachLogs(options: RestoreOptions): Promise<{ partitions: RestoredPartition[]; epoch: number }> {
  const { store, location, dataDirectory, fileSystem, clock, random } = options
  const directory = `${dataDirectory}/tier`
  await fileSystem.makeDirectory(directory)
  await fileSystem.makeDirectory(`${dataDirectory}/topics`)
  await writeSmallFile(fileSystem, `${directory}/tier.json`, { format: tierFormatVersion, location })
  const manifests = new ManifestStore(store, clock)
  const context = { fileSystem, clock, random, store, manifests, directory }
  const partitions: RestoredPartition[] = []
  let epoch = 0
  for (const topic of await listTierTopics(store, clock)) {
    if (topic.deletedMs !== undefined) continue
    const topicDirectory = `${dataDirectory}/topics/${topic.id}`
    await fileSystem.makeDirectory(topicDirectory)
    for (let partition = 0; partition < topic.partitions; partition++) {
      const log = new TierLog(context, topic.id, partition)
      const manifest = await manifests.latest(topic.id, partition)
      if (manifest !== undefined) await log.adopt(manifest)
      epoch = Math.max(epoch, manifest?.writer.epoch ?? 0, ...log.segments.map(({ footer }) => footer.leaderEpoch))
      await restoreFacts(options, topic.id, partition)
      await beginActive(options, topic, log)
      partitions.push(describe(topic, log))
    }
    const { deletedMs: _, ...facts } = topic
    await writeTopicFile({ fileSystem }, topicDirectory, facts)
  }
  return { partitions, epoch: epoch + 1 }
}

async function restoreFacts(
  { store, fileSystem, dataDirectory }: RestoreOptions,
  topicId: string,
  partition: number,
): Promise<void> {
  const prefix = `${tierKeys.log(topicId, partition)}facts/`
  const directory = `${dataDirectory}/topics/${topicId}/${partition}`
  for await (const { key } of store.list(prefix)) {
    const bytes = await store.get(key)
    const name = key.slice(prefix.length)
    if (bytes === undefined || name.includes('/')) continue
    await fileSystem.makeDirectory(directory)
    await replaceFile(fileSystem, `${directory}/${name}`, [bytes])
  }
}

/** An empty segment behind the last one in the tier; one that an earlier attach began goes. */
async function beginActive(
  { fileSystem, dataDirectory }: RestoreOptions,
  topic: TierTopic,
  log: TierLog,
): Promise<void> {
  const last = log.segments.at(-1)
  if (last === undefined) return
  const directory = `${dataDirectory}/topics/${topic.id}/${log.partition}`
  await fileSystem.makeDirectory(directory)
  const header = decodeSegmentHeader(last.head, tierKeys.log(topic.id, log.partition))
  if (header === undefined) throw new PlayheadError('damagedData', `tier: found no sound header of ${topic.name}`)
  const { salt } = header
  const baseOffset = last.footer.nextOffset
  const bytes = encodeSegmentHeader({
    topicId: topicIdBytes(topic.id),
    partition: log.partition,
    baseOffset,
    salt,
    leaderEpoch: last.footer.leaderEpoch,
  })
  for (const name of await fileSystem.list(directory))
    if ((baseOffsetOfFile(name) ?? baseOffset) !== baseOffset) await fileSystem.remove(`${directory}/${name}`)
  await replaceFile(fileSystem, `${directory}/${segmentFileName(baseOffset)}`, [bytes])
}

function describe(topic: TierTopic, log: TierLog): RestoredPartition {
  const { segments } = log
  const missing: { offset: number; nextOffset: number }[] = []
  let [bytes, records, lastAppendTimeMs] = [0, 0, -1]
  let endOffset = segments[0]?.footer.baseOffset ?? 0
  for (const { footer } of segments) {
    if (footer.baseOffset > endOffset) missing.push({ offset: endOffset, nextOffset: footer.baseOffset })
    bytes += footer.segmentBytes + footer.bodyBytes
    records += footer.records
    lastAppendTimeMs = Math.max(lastAppendTimeMs, footer.lastAppendTimeMs)
    endOffset = footer.nextOffset
  }
  return {
    topic: topic.name,
    partition: log.partition,
    segments: segments.length,
    bytes,
    records,
    startOffset: segments[0]?.footer.baseOffset ?? 0,
    endOffset,
    lastAppendTimeMs: lastAppendTimeMs < 0 ? null : lastAppendTimeMs,
    missing,
  }
}

async function writeBrokerFile(
  { fileSystem, dataDirectory }: RestoreOptions,
  dataDirectoryId: string,
  clusterId: string,
  epoch: number,
): Promise<void> {
  const facts = { format: dataFormatVersion, dataDirectoryId, clusterId, brokerId: 0, epoch, cleanStop: true }
  await writeSmallFile(fileSystem, `${dataDirectory}/broker.json`, facts)
}

function newId({ random, clock }: RestoreOptions): string {
  return formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
}

function noTier(store: ObjectStore): PlayheadError {
  return tierRefused(store.location, 'no tier of Playhead', 'the location that a broker was served with (--tier)')
}
