/**
 * ClusterMembership: what a data directory remembers of the cluster it is in, in cluster.json beside broker.json: which cluster, as which broker, and
 * the last it saw of the metadata store. Refuses, before anything is served, what would mix two clusters or two brokers: another broker id, another
 * cluster, another store or an older copy of it.
 * Neighbours: Session registers the broker after it; storage/small-file.ts draws the file; guarded-metadata-store.ts watches over the revisions.
 */
import type { FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { damagedFile, readSmallFile, writeSmallFile } from '../storage/small-file.ts'
import { metadataKeys } from './metadata-keys.ts'
import { metadataFormatVersion, readCluster, writeRecord } from './metadata-records.ts'
import type { MetadataStore, StoreMark } from './metadata-store.ts'

export interface Membership {
  readonly clusterId: string
  readonly brokerId: number
  /** The metadata store as last seen. */
  readonly seen: StoreMark
}

const fileFormat = 1

/** Undefined when the directory has never been in a cluster. Throws damagedData, unsupportedFormat. */
export async function readMembership(fileSystem: FileSystem, directory: string): Promise<Membership | undefined> {
  const path = membershipFile(directory)
  const value = await readSmallFile(fileSystem, path)
  if (value === undefined) return undefined
  const { format, clusterId, brokerId, storeId, revision } = value
  if (typeof format === 'number' && format > fileFormat) {
    const message = `${path}: found format version ${format}, wanted at most ${fileFormat}; use the release that wrote it, or a newer one`
    throw new PlayheadError('unsupportedFormat', message, { file: path, format })
  }
  const isOurs = typeof clusterId === 'string' && typeof storeId === 'string'
  if (!isOurs || !isCount(brokerId) || !isCount(revision)) {
    throw damagedFile(path, 'fields that are missing or of another kind', 'those that Playhead wrote')
  }
  return { clusterId, brokerId, seen: { storeId, revision } }
}

/** Also from time to time while it runs: the later the revision, the less an older copy of the store can pass for the newest. */
export async function writeMembership(
  fileSystem: FileSystem,
  directory: string,
  membership: Membership,
): Promise<void> {
  const { clusterId, brokerId, seen } = membership
  const { storeId, revision } = seen
  await writeSmallFile(fileSystem, membershipFile(directory), {
    format: fileFormat,
    clusterId,
    brokerId,
    storeId,
    revision,
  })
}

/** Throws dataDirectoryMismatch when the directory is another broker's. */
export function checkBrokerId(directory: string, membership: Membership | undefined, brokerId: number): void {
  if (membership === undefined || membership.brokerId === brokerId) return
  throw new PlayheadError(
    'dataDirectoryMismatch',
    `${directory}: found the data of broker ${membership.brokerId}, wanted that of broker ${brokerId}: ` +
      `start it with --broker-id ${membership.brokerId}, or name the right directory with --data`,
    { directory, found: membership.brokerId, wanted: brokerId },
  )
}

export interface Joining {
  /** For errors: what --cluster says. */
  readonly address: string
  readonly directory: string
  readonly membership: Membership | undefined
  /** Of the data directory. It becomes the cluster's when there is none yet. */
  readonly ownClusterId: string
  readonly hasTopics: boolean
}

/** The id of the cluster, made now if this is its first broker. Throws clusterMismatch, metadataStoreReplaced, unsupportedFormat, unavailable. */
export async function joinCluster(store: MetadataStore, joining: Joining): Promise<string> {
  const key = metadataKeys.id
  const wanted = joining.membership?.clusterId ?? joining.ownClusterId
  for (;;) {
    const { entry } = await store.get(key)
    if (entry !== undefined) {
      const { clusterId, format } = readCluster(entry)
      if (format > metadataFormatVersion) throw newerFormat(joining.address, format)
      await checkCluster(store, joining, clusterId, wanted)
      return clusterId
    }
    await checkNothingLost(store, joining)
    const value = writeRecord({ clusterId: wanted, format: metadataFormatVersion })
    // Whoever made it, or if nobody knows: the next look tells.
    await store.transact({ compares: [{ key, modRevision: 0 }], changes: [{ kind: 'put', key, value }] })
  }
}

async function checkCluster(store: MetadataStore, joining: Joining, found: string, wanted: string): Promise<void> {
  if (found === wanted) return
  const { address, directory, membership, hasTopics } = joining
  const mismatch = (text: string) => new PlayheadError('clusterMismatch', text, { directory, found, wanted })
  if (membership !== undefined) {
    throw mismatch(
      `${address}: found cluster ${found}, wanted ${wanted}, which ${directory} belongs to: ` +
        'point --cluster at the right etcd, or name the right directory with --data',
    )
  }
  // Topics from before come along into a cluster that has none: their names and ids are free there.
  if (!hasTopics || (await store.range(metadataKeys.topics)).entries.length === 0) return
  throw mismatch(
    `${address}: found cluster ${found}, which has topics, and topics of its own in ${directory}, wanted one or the other: ` +
      'begin the cluster with the broker that has data, or name an empty directory with --data',
  )
}

/** A store without a cluster, but not without anything, or where this directory has been before, has lost it. */
async function checkNothingLost(store: MetadataStore, { address, membership }: Joining): Promise<void> {
  const { entries } = await store.range('/')
  if (entries.some(({ key }) => key === metadataKeys.id)) return
  if (membership === undefined && entries.length === 0) return
  const found = entries.length === 0 ? 'nothing' : `${entries.length} keys without the id of a cluster`
  const wanted = membership === undefined ? 'an empty one, or all of a cluster' : `cluster ${membership.clusterId}`
  throw new PlayheadError(
    'metadataStoreReplaced',
    `${address}: found ${found}, wanted ${wanted}; point --cluster at the right etcd, or restore the newest copy of it`,
  )
}

function newerFormat(address: string, format: number): PlayheadError {
  const message = `${address}: found cluster metadata of format version ${format}, wanted at most ${metadataFormatVersion}; start a newer release of the broker`
  return new PlayheadError('unsupportedFormat', message, { format })
}

function membershipFile(directory: string): string {
  return `${directory}/cluster.json`
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
