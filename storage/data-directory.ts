/**
 * DataDirectory: what makes a directory one broker's. Takes the lock, then reads or makes `broker.json` (ids, format version, epoch,
 * whether the last stop was clean) and raises the epoch before anything is served, so that no two runs ever share an epoch: not even after
 * an older broker.json was put in place, since what the logs have been through counts too.
 *
 *   <directory>/lock            who runs here                   directory-lock.ts
 *   <directory>/broker.json     ids, format version, epoch
 *   <directory>/topics/<id>/    topic.json and the partitions   topic.ts
 *   <directory>/cache/          derived state, may be deleted   checkpoint-store.ts
 *
 * Neighbours: log-store.ts opens it first and closes it last.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { formatUuid, uuidV7 } from '../protocol/uuid.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import { refusalOf } from './disk-space.ts'
import { DirectoryLock } from './directory-lock.ts'
import { damagedFile, readSmallFile, writeSmallFile } from './small-file.ts'

/** Of the directory as a whole. A newer one is refused; an older one is brought up to date when it is opened. */
export const dataFormatVersion = 1

export interface BrokerFacts {
  readonly format: number
  readonly dataDirectoryId: string
  readonly clusterId: string
  readonly brokerId: number
  /** Raised by one at every start. */
  readonly epoch: number
  /** Whether the run before this one ended in order. */
  readonly cleanStop: boolean
}

interface DataDirectoryOptions {
  readonly directory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
}

export class DataDirectory {
  readonly directory: string
  readonly #fileSystem: FileSystem
  readonly #lock: DirectoryLock
  #facts: BrokerFacts

  private constructor(options: DataDirectoryOptions, lock: DirectoryLock, facts: BrokerFacts) {
    this.directory = options.directory
    this.#facts = facts
    this.#fileSystem = options.fileSystem
    this.#lock = lock
  }

  /** As of this run; `cleanStop` tells of the run before. */
  get facts(): BrokerFacts {
    return this.#facts
  }

  /** Throws dataDirectoryInUse, dataDirectoryNotWritable, unsupportedFormat or damagedData. */
  static async open(options: DataDirectoryOptions): Promise<DataDirectory> {
    const { directory, fileSystem } = options
    let lock: DirectoryLock | undefined
    try {
      await fileSystem.makeDirectory(directory)
      lock = await DirectoryLock.acquire(fileSystem, directory, options.random)
      const found = await readBrokerFacts(fileSystem, directory)
      const facts = found === undefined ? newBrokerFacts(options) : { ...found, epoch: found.epoch + 1 }
      await fileSystem.makeDirectory(`${directory}/topics`)
      await writeSmallFile(fileSystem, brokerFile(directory), { ...facts, cleanStop: false })
      return new DataDirectory(options, lock, facts)
    } catch (error) {
      await lock?.release().catch(() => undefined)
      throw notWritable(directory, error) ?? error
    }
  }

  /** Makes this run's epoch higher than `epoch`, on disk too. Before anything is appended: batches of a lower epoch than the one before are none. */
  async raiseEpochAbove(epoch: number): Promise<void> {
    if (this.#facts.epoch > epoch) return
    const facts = { ...this.#facts, epoch: epoch + 1 }
    try {
      await writeSmallFile(this.#fileSystem, brokerFile(this.directory), { ...facts, cleanStop: false })
    } catch (error) {
      throw notWritable(this.directory, error) ?? error
    }
    this.#facts = facts
  }

  /** Records that everything was closed in order, and frees the directory. */
  async closeClean(): Promise<void> {
    try {
      await writeSmallFile(this.#fileSystem, brokerFile(this.directory), { ...this.#facts, cleanStop: true })
    } finally {
      await this.#lock.release()
    }
  }

  /** Frees the directory without calling the stop clean. */
  async abandon(): Promise<void> {
    await this.#lock.release()
  }
}

/** What broker.json says; undefined when the directory is not a data directory yet. Throws unsupportedFormat or damagedData. */
export async function readBrokerFacts(fileSystem: FileSystem, directory: string): Promise<BrokerFacts | undefined> {
  const path = brokerFile(directory)
  const value = await readSmallFile(fileSystem, path)
  if (value === undefined) {
    // Topics without a broker.json: it was lost, and making new ids would hide that.
    const topics = `${directory}/topics`
    if ((await fileSystem.exists(topics)) && (await fileSystem.list(topics)).length > 0) {
      throw damagedFile(path, 'no file beside topics', 'the file of this data directory')
    }
    return undefined
  }
  const { format, dataDirectoryId, clusterId, brokerId, epoch, cleanStop } = value
  if (typeof format !== 'number') throw damagedFile(path, `format ${String(format)}`, 'a number')
  if (format > dataFormatVersion) {
    throw new PlayheadError(
      'unsupportedFormat',
      `${path}: found format version ${format}, wanted at most ${dataFormatVersion}; use the release that wrote it, or a newer one`,
      { file: path, format },
    )
  }
  if (
    typeof dataDirectoryId !== 'string' ||
    typeof clusterId !== 'string' ||
    typeof brokerId !== 'number' ||
    typeof epoch !== 'number' ||
    !Number.isSafeInteger(epoch) ||
    epoch < 0
  ) {
    throw damagedFile(path, 'fields that are missing or of another kind', 'those that Playhead wrote')
  }
  return { format, dataDirectoryId, clusterId, brokerId, epoch, cleanStop: cleanStop === true }
}

function newBrokerFacts({ clock, random }: DataDirectoryOptions): BrokerFacts {
  const newId = () => formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
  return {
    format: dataFormatVersion,
    dataDirectoryId: newId(),
    clusterId: newId(),
    brokerId: 0,
    epoch: 0,
    cleanStop: true,
  }
}

function brokerFile(directory: string): string {
  return `${directory}/broker.json`
}

function notWritable(directory: string, error: unknown): PlayheadError | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const full = refusalOf(error, directory)
  if (full instanceof PlayheadError) return full
  if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(String(error.code))) return undefined
  return new PlayheadError(
    'dataDirectoryNotWritable',
    `${directory}: found ${error.message}, wanted a directory this user can write; change its owner or name another one with --data`,
    { directory },
  )
}
