/**
 * Backup: a data directory copied while its broker goes on, log by log (log-copy.ts). What is derived (the cache) is left out, and so are secrets beside the data (admin.token).
 * Invariants: of each log the copy is what it was at one moment, and holds all that was durable when the backup began (`marks`); nothing is written into a
 * directory that has anything in it; the manifest comes last, so that a backup without one was not finished.
 * Neighbours: restore.ts is the way back; cli/backup.ts asks the broker for the marks.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { writeManifest } from './backup-manifest.ts'
import type { BackupFile } from './backup-manifest.ts'
import { readBrokerFacts } from './data-directory.ts'
import { copyFile } from './file-copy.ts'
import { copyLog } from './log-copy.ts'
import { deletedSuffix, readTopicFile } from './topic.ts'

/** Everything below these offsets must be in the backup. */
export interface BackupMark {
  readonly topicId: string
  readonly partition: number
  readonly offset: number
}

export interface BackupOptions {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly directory: string
  /** Created when it is missing. */
  readonly target: string
  /** Of a broker that runs there, asked before the backup begins; undefined = it is stopped. */
  readonly marks: readonly BackupMark[] | undefined
  readonly onBytes?: (bytes: number) => void
}

export interface BackupResult {
  readonly topics: number
  readonly partitions: number
  readonly files: number
  readonly bytes: number
  readonly begunAtMs: number
}

/** Throws targetNotEmpty, invalidArgument, damagedData, incompleteBackup, unsupportedFormat, and what the disk says. */
export async function backUp(options: BackupOptions): Promise<BackupResult> {
  const { fileSystem, clock, directory, target, marks = [] } = options
  const begunAtMs = clock.now()
  const facts = await readBrokerFacts(fileSystem, directory)
  if (facts === undefined)
    throw new PlayheadError(
      'damagedData',
      `${directory}: found no broker.json, wanted a data directory; name it with --data`,
      { file: `${directory}/broker.json` },
    )
  await checkAlone(fileSystem, directory)
  await fileSystem.makeDirectory(target)
  await checkEmpty(fileSystem, target)
  const copy = new BackupCopy(options)
  await copy.file('broker.json')
  await fileSystem.makeDirectory(`${target}/topics`)
  let partitions = 0
  const topics = new Set<string>()
  for (const name of await fileSystem.list(`${directory}/topics`)) {
    if (name.endsWith(deletedSuffix)) continue
    const topic = await readTopicFile(fileSystem, `${directory}/topics/${name}`)
    if (topic === undefined) continue // being made, or gone
    await fileSystem.makeDirectory(`${target}/topics/${name}`)
    await copy.file(`topics/${name}/topic.json`)
    topics.add(topic.id)
    for (let partition = 0; partition < topic.partitions; partition++) {
      const mark = marks.find((each) => each.topicId === topic.id && each.partition === partition)?.offset ?? 0
      await copy.log(`topics/${name}/${partition}`, mark)
      partitions++
    }
  }
  await checkTopics(options, topics)
  const manifest = { clusterId: facts.clusterId, begunAtMs, endedAtMs: clock.now() }
  await writeManifest(fileSystem, target, manifest, copy.files)
  return { topics: topics.size, partitions, files: copy.files.length, bytes: copy.bytes, begunAtMs }
}

/** A topic that was there at the beginning and is not copied was deleted meanwhile: its directory is gone, or on its way. */
async function checkTopics(
  { fileSystem, directory, marks = [] }: BackupOptions,
  copied: ReadonlySet<string>,
): Promise<void> {
  for (const { topicId } of marks) {
    if (copied.has(topicId) || !(await fileSystem.exists(`${directory}/topics/${topicId}/topic.json`))) continue
    throw new PlayheadError(
      'damagedData',
      `${directory}/topics/${topicId}: found a topic that was not copied, wanted all of them; take another backup`,
    )
  }
}

class BackupCopy {
  readonly files: BackupFile[] = []
  bytes = 0
  readonly #options: BackupOptions

  constructor(options: BackupOptions) {
    this.#options = options
  }

  async file(path: string): Promise<void> {
    const { fileSystem, directory, target, onBytes } = this.#options
    const copied = await copyFile(fileSystem, `${directory}/${path}`, `${target}/${path}`, { onBytes })
    this.files.push({ path, ...copied })
    this.bytes += copied.bytes
  }

  async log(path: string, mark: number): Promise<void> {
    const { fileSystem, clock, directory, target, marks, onBytes } = this.#options
    const isLive = marks !== undefined
    for (const file of await copyLog({ fileSystem, clock, directory, target, path, mark, isLive, onBytes })) {
      this.files.push(file)
      this.bytes += file.bytes
    }
  }
}

/** What of a data directory is elsewhere too would come back without that, and so with holes. */
async function checkAlone(fileSystem: FileSystem, directory: string): Promise<void> {
  const [found, next] = (await fileSystem.exists(`${directory}/tier`))
    ? ['a tier', 'bring it back with playhead tier restore']
    : (await fileSystem.exists(`${directory}/cluster.json`))
      ? ['a broker of a cluster', 'the others have what it has; start it anew with an empty directory']
      : []
  if (found === undefined) return
  throw new PlayheadError(
    'invalidArgument',
    `${directory}: found ${found}, wanted a broker by itself with all of its data in its directory: backups of others are not built yet; ${next}`,
    { directory },
  )
}

/** Throws targetNotEmpty. */
export async function checkEmpty(fileSystem: FileSystem, directory: string): Promise<void> {
  const names = await fileSystem.list(directory)
  if (names.length === 0) return
  throw new PlayheadError(
    'targetNotEmpty',
    `${directory}: found ${names.slice(0, 3).join(', ')}${names.length > 3 ? ' …' : ''} in it, wanted a new or an empty directory; nothing was written`,
    { directory },
  )
}
