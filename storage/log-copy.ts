/**
 * LogCopy: the files of one log copied for a backup while its broker goes on. Of the newest segment what stands there in sound frames, all others whole, and the facts
 * that are nowhere else: where the log begins, the last versions of streams whose events are gone, leader epochs.
 * Invariant: together they are the log at one moment. Retention and compaction may take a segment away or write it again meanwhile; they are
 * told by names and headers, which are looked at when everything is copied. Then what has changed is copied anew and what is gone is let go of, so that
 * each attempt is shorter than the one before: a log that is cleaned all the time, or takes longer to copy than to clean, comes to its moment too.
 * Neighbours: backup.ts makes one for each log.
 */
import type { Clock } from '../platform/clock.ts'
import { isMissing } from '../platform/file-system.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { BackupFile } from './backup-manifest.ts'
import { copyFile } from './file-copy.ts'
import { findHeads, headsFileName } from './heads.ts'
import { leaderEpochsFile } from './leader-epochs.ts'
import { logFactsFile } from './log-facts.ts'
import { baseOffsetOfFile, decodeSegmentHeader, SEGMENT_HEADER_BYTES, sidecarFileName } from './segment-format.ts'
import { scanSegment } from './segment-scan.ts'
import type { ScanEnd, ScannedFrame } from './segment-scan.ts'

/** Each takes a pass of the cleaner that met the copying, of all first and then of the little that the pass before had changed. */
const attemptsMax = 100

export interface LogCopyOptions {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  /** The data directory, and the backup. */
  readonly directory: string
  readonly target: string
  /** Of the log, below both. */
  readonly path: string
  /** Everything below it must be there. */
  readonly mark: number
  /** A broker may be writing. */
  readonly isLive: boolean
  readonly onBytes?: ((bytes: number) => void) | undefined
}

/** Throws damagedData, incompleteBackup. */
export async function copyLog(options: LogCopyOptions): Promise<BackupFile[]> {
  const { directory, path } = options
  const copy = new LogCopy(options)
  for (let attempt = 1; attempt <= attemptsMax; attempt++) if (await copy.make()) return copy.files
  throw new PlayheadError(
    'incompleteBackup',
    `${directory}/${path}: found segments removed or written again while they were copied, ${attemptsMax} times, wanted a moment without; take another backup`,
    { file: `${directory}/${path}` },
  )
}

class LogCopy {
  readonly #options: LogCopyOptions
  readonly #from: string
  readonly #to: string
  /** By name, what the copy has. */
  readonly #copied = new Map<string, BackupFile>()
  /** Those of them that are whole segments: they need no other copy while their headers stay as they are. */
  readonly #whole = new Set<string>()

  constructor(options: LogCopyOptions) {
    this.#options = options
    this.#from = `${options.directory}/${options.path}`
    this.#to = `${options.target}/${options.path}`
  }

  get files(): BackupFile[] {
    return [...this.#copied.values()]
  }

  /** False when it is not of one moment: to be called again, for what has changed. */
  async make(): Promise<boolean> {
    const { fileSystem, mark, isLive } = this.#options
    if (!(await fileSystem.exists(this.#from))) {
      checkReached(this.#from, 0, mark, undefined)
      return true
    }
    await fileSystem.makeDirectory(this.#to)
    try {
      const segments = (await fileSystem.list(this.#from)).filter((name) => baseOffsetOfFile(name) !== undefined)
      if (segments.length === 0) checkReached(this.#from, 0, mark, undefined)
      await this.#letGoOfOthers(segments)
      for (const [index, name] of segments.entries()) {
        if (index === segments.length - 1 && isLive) await this.#newest(name)
        else await this.#sealed(name)
      }
      // Behind the segments: what they say about events that are gone is true of those that were copied, and may say more.
      for (const name of await this.#facts()) await this.#file(name)
      if (!(await this.#isAsCopied())) return false
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
    await fileSystem.syncDirectory(this.#to)
    return true
  }

  /** What was copied before of segments that are gone, and of facts, which are copied each time. */
  async #letGoOfOthers(segments: readonly string[]): Promise<void> {
    const kept = new Set(segments.flatMap((name) => [name, sidecarFileName(baseOffsetOfFile(name) ?? 0)]))
    for (const name of this.#copied.keys()) if (!kept.has(name)) await this.#letGo(name)
  }

  async #letGo(name: string): Promise<void> {
    this.#whole.delete(name)
    if (this.#copied.delete(name)) await this.#options.fileSystem.remove(`${this.#to}/${name}`)
  }

  async #file(name: string, bytesMax?: number): Promise<void> {
    const { fileSystem, path, onBytes } = this.#options
    await this.#letGo(name)
    const copied = await copyFile(fileSystem, `${this.#from}/${name}`, `${this.#to}/${name}`, {
      onBytes,
      ...(bytesMax !== undefined && { bytesMax }),
    })
    this.#copied.set(name, { path: `${path}/${name}`, ...copied })
  }

  async #sealed(name: string): Promise<void> {
    const sidecar = sidecarFileName(baseOffsetOfFile(name) ?? 0)
    if (this.#whole.has(name) && (await this.#isSame(name))) return
    await this.#letGo(sidecar)
    await this.#file(name)
    if (await this.#options.fileSystem.exists(`${this.#from}/${sidecar}`)) await this.#file(sidecar)
    this.#whole.add(name)
  }

  /** It may be written to while it is read: a frame is whole or is not there yet. */
  async #newest(name: string): Promise<void> {
    const { fileSystem, clock, mark } = this.#options
    const path = `${this.#from}/${name}`
    const end = await scanFile(fileSystem, clock, path, () => {})
    // A segment that is being made has no header yet, and nothing in it.
    if (end === undefined) return checkReached(path, baseOffsetOfFile(name) ?? 0, mark, 'no sound header')
    checkReached(path, end.nextOffset, mark, end.problem)
    await this.#file(name, end.position)
  }

  async #facts(): Promise<string[]> {
    const { fileSystem } = this.#options
    const names = (await findHeads(fileSystem, this.#from)).map(({ endOffset }) => headsFileName(endOffset))
    for (const name of [logFactsFile, leaderEpochsFile])
      if (await fileSystem.exists(`${this.#from}/${name}`)) names.push(name)
    return names
  }

  async #isAsCopied(): Promise<boolean> {
    for (const name of this.#copied.keys())
      if (baseOffsetOfFile(name) !== undefined && !(await this.#isSame(name))) return false
    return true
  }

  /** A segment that is written again counts that in its header. */
  async #isSame(name: string): Promise<boolean> {
    const { fileSystem } = this.#options
    const now = await headerBytes(fileSystem, `${this.#from}/${name}`)
    return now.equals(await headerBytes(fileSystem, `${this.#to}/${name}`))
  }
}

async function headerBytes(fileSystem: FileSystem, path: string): Promise<Buffer> {
  const file = await fileSystem.open(path, 'read')
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(bytes, 0)
    return bytes
  } finally {
    await file.close()
  }
}

/** The sound frames of a segment file from its first on; undefined when it has no sound header. */
export async function scanFile(
  fileSystem: FileSystem,
  clock: Clock,
  path: string,
  visit: (frame: ScannedFrame) => void,
): Promise<ScanEnd | undefined> {
  const header = decodeSegmentHeader(await headerBytes(fileSystem, path), path)
  if (header === undefined) return undefined
  const from = { position: SEGMENT_HEADER_BYTES, nextOffset: header.baseOffset, leaderEpoch: header.leaderEpoch }
  const file = await fileSystem.open(path, 'read')
  try {
    const [endPosition, isSparse] = [await file.sizeBytes(), header.compaction > 0]
    return await scanSegment({ file, salt: header.salt, from, endPosition, isSparse, clock }, visit)
  } finally {
    await file.close()
  }
}

function checkReached(path: string, nextOffset: number, mark: number, problem: string | undefined): void {
  if (nextOffset >= mark) return
  throw new PlayheadError(
    'damagedData',
    `${path}: found sound frames up to offset ${nextOffset}${problem === undefined ? '' : ` and then ${problem}`}, wanted all up to ${mark}, which are committed; look with playhead verify`,
    { file: path, offset: nextOffset },
  )
}
