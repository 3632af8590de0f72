/**
 * Backup: a data directory copied while its broker goes on. Sealed segments do not change and are copied whole; of the newest segment of a log what stands
 * there in sound frames. What is derived (the cache) is left out, and so are secrets beside the data (admin.token).
 * Invariants: of each log the copy is a prefix, and holds all that was durable when the backup began (`marks`); nothing is written into a
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
import { SEGMENT_HEADER_BYTES, baseOffsetOfFile, decodeSegmentHeader, sidecarFileName } from './segment-format.ts'
import { scanSegment } from './segment-scan.ts'
import type { ScanEnd, ScannedFrame } from './segment-scan.ts'
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

/** Throws targetNotEmpty, damagedData, unsupportedFormat, and what the disk says. */
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

  async file(path: string, bytesMax?: number): Promise<void> {
    const { fileSystem, directory, target, onBytes } = this.#options
    const copied = await copyFile(fileSystem, `${directory}/${path}`, `${target}/${path}`, {
      onBytes,
      ...(bytesMax !== undefined && { bytesMax }),
    })
    this.files.push({ path, ...copied })
    this.bytes += copied.bytes
  }

  async log(path: string, mark: number): Promise<void> {
    const { fileSystem, directory, target } = this.#options
    const from = `${directory}/${path}`
    if (!(await fileSystem.exists(from))) return checkReached(from, 0, mark, undefined)
    const segments = (await fileSystem.list(from)).filter((name) => baseOffsetOfFile(name) !== undefined)
    await fileSystem.makeDirectory(`${target}/${path}`)
    for (const [index, name] of segments.entries()) {
      if (index === segments.length - 1 && this.#options.marks !== undefined) {
        await this.#newest(path, name, mark)
        continue
      }
      await this.file(`${path}/${name}`)
      const sidecar = `${path}/${sidecarFileName(baseOffsetOfFile(name) ?? 0)}`
      if (await fileSystem.exists(`${directory}/${sidecar}`)) await this.file(sidecar)
    }
    await fileSystem.syncDirectory(`${target}/${path}`)
    if (segments.length === 0) checkReached(from, 0, mark, undefined)
  }

  /** It may be written to while it is read: a frame is whole or is not there yet. */
  async #newest(path: string, name: string, mark: number): Promise<void> {
    const { fileSystem, clock, directory } = this.#options
    const file = `${directory}/${path}/${name}`
    const end = await scanFile(fileSystem, clock, file, () => {})
    // A segment that is being made has no header yet, and nothing in it.
    if (end === undefined) return checkReached(file, baseOffsetOfFile(name) ?? 0, mark, 'no sound header')
    checkReached(file, end.nextOffset, mark, end.problem)
    await this.file(`${path}/${name}`, end.position)
  }
}

/** The sound frames of a segment file from its first on; undefined when it has no sound header. */
export async function scanFile(
  fileSystem: FileSystem,
  clock: Clock,
  path: string,
  visit: (frame: ScannedFrame) => void,
): Promise<ScanEnd | undefined> {
  const file = await fileSystem.open(path, 'read')
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(bytes, 0)
    const header = decodeSegmentHeader(bytes, path)
    if (header === undefined) return undefined
    const from = { position: SEGMENT_HEADER_BYTES, nextOffset: header.baseOffset, leaderEpoch: header.leaderEpoch }
    return await scanSegment({ file, salt: header.salt, from, endPosition: await file.sizeBytes(), clock }, visit)
  } finally {
    await file.close()
  }
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

function checkReached(path: string, nextOffset: number, mark: number, problem: string | undefined): void {
  if (nextOffset >= mark) return
  throw new PlayheadError(
    'damagedData',
    `${path}: found sound frames up to offset ${nextOffset}${problem === undefined ? '' : ` and then ${problem}`}, wanted all up to ${mark}, which are committed; look with playhead verify`,
    { file: path, offset: nextOffset },
  )
}
