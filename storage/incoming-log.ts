/**
 * IncomingLog: the files of a leader's log while they gather beside the log whose place they are to take:
 *   topics/<topic id>/incoming-<partition>/   segments and sidecars that are whole, heads, and at last the facts
 * Invariants: a file has its name only once it is whole, durable, and what its sidecar says; what has gathered is a log only after `finish`. An attempt that ended halfway
 * is gone on with while the leader still has the same files.
 * Neighbours: TopicStore makes it and lets it take the log's place; replication fills it; SharedFiles is the other end.
 */
import type { FileSystem } from '../platform/file-system.ts'
import { crc32c } from '../protocol/crc32c.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { refusalOf } from './disk-space.ts'
import { HeadsReader } from './heads.ts'
import { writeLeaderEpochs } from './leader-epochs.ts'
import { writeLogFacts } from './log-facts.ts'
import {
  baseOffsetOfFile,
  decodeSegmentHeader,
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  segmentFileName,
  sidecarFileName,
} from './segment-format.ts'
import { fileNameOf } from './shared-files.ts'
import type { LogSnapshot, SharedKind, SharedSegment } from './shared-files.ts'
import { readFooter } from './sidecar.ts'
import type { Footer } from './sidecar-format.ts'
import { temporarySuffix } from './small-file.ts'
import type { LogIdentity } from './storage-context.ts'

/** The bytes of a file from `position` on; none at its end. */
export type ReadShared = (position: number) => Promise<Buffer>

export class IncomingLog {
  readonly directory: string
  readonly #fileSystem: FileSystem
  readonly #identity: LogIdentity

  constructor(fileSystem: FileSystem, identity: LogIdentity, directory: string) {
    this.#fileSystem = fileSystem
    this.#identity = identity
    this.directory = directory
  }

  /** Removes what is not of this snapshot; answers the segments that are missing, in order. Throws diskFull. */
  missing({ segments, salt }: LogSnapshot): Promise<SharedSegment[]> {
    return this.#refusing(async () => {
      await this.#fileSystem.makeDirectory(this.directory)
      const found = new Set<number>()
      const wanted = new Map(segments.map((segment) => [segment.baseOffset, segment]))
      for (const name of await this.#fileSystem.list(this.directory)) {
        const baseOffset = baseOffsetOfFile(name.replace(/\.idx$/, '.log'))
        const segment = baseOffset === undefined ? undefined : wanted.get(baseOffset)
        if (segment === undefined) await this.#fileSystem.remove(this.#path(name))
        else if (await this.#has(segment, salt)) found.add(segment.baseOffset)
      }
      return segments.filter(({ baseOffset }) => !found.has(baseOffset))
    })
  }

  /** Nothing of it is needed any more. Throws diskFull. */
  drop(): Promise<void> {
    return this.#refusing(() => this.#fileSystem.removeDirectory(this.directory))
  }

  /** Throws unavailable when what came is not the segment that was named; then nothing of it is kept. */
  receiveSegment(segment: SharedSegment, read: (kind: SharedKind) => ReadShared): Promise<void> {
    return this.#refusing(async () => {
      const [sidecar, name] = [sidecarFileName(segment.baseOffset), segmentFileName(segment.baseOffset)]
      await this.#receive(sidecar, read('sidecar'))
      const footer = await readFooter(this.#fileSystem, this.#path(sidecar + temporarySuffix))
      const received = await this.#receive(name, read('segment'))
      const { sizeBytes, checksum } = segment
      if (!isFooterOf(footer, segment) || received.checksum !== checksum || received.sizeBytes !== sizeBytes)
        throw this.#notAsNamed(name, `${received.sizeBytes} bytes that are not the ${sizeBytes} that were named`)
      for (const each of [sidecar, name]) await this.#take(each)
      await this.#fileSystem.syncDirectory(this.directory)
    })
  }

  /** One heads file, which ends at `endOffset`. Throws unavailable when it is not sound; then it is not kept. */
  receiveHeads(endOffset: number, read: ReadShared): Promise<void> {
    return this.#refusing(async () => {
      const name = fileNameOf('heads', endOffset)
      await this.#receive(name, read)
      try {
        const heads = await HeadsReader.open(this.#fileSystem, this.#path(name + temporarySuffix), this.#identity)
        try {
          while (await heads.next());
          if (heads.endOffset !== endOffset) throw this.#notAsNamed(name, `an end at ${heads.endOffset}`)
        } finally {
          await heads.close()
        }
      } catch (error) {
        throw isPlayheadError(error, 'damagedData') ? this.#notAsNamed(name, error.message) : error
      }
      await this.#take(name)
    })
  }

  /** Makes a log of what has gathered, which is all of the snapshot: one that goes on behind its last segment. `latestEpoch`: the last one that this replica takes part in. */
  finish(snapshot: LogSnapshot, latestEpoch: number): Promise<void> {
    return this.#refusing(() => this.#finish(snapshot, latestEpoch))
  }

  async #finish(
    { facts, salt, baseOffset, segments, leaderEpoch, epochs }: LogSnapshot,
    latestEpoch: number,
  ): Promise<void> {
    const { topicId, partition } = this.#identity
    const nextOffset = segments.at(-1)?.nextOffset ?? baseOffset
    const header = { topicId, partition, baseOffset: nextOffset, salt, leaderEpoch: Math.max(0, leaderEpoch) }
    const file = await this.#fileSystem.open(this.#path(segmentFileName(nextOffset)), 'create')
    try {
      await file.write([encodeSegmentHeader(header)], 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await writeLogFacts(this.#fileSystem, this.directory, facts)
    await writeLeaderEpochs(this.#fileSystem, this.directory, { latest: latestEpoch, starts: epochs })
    await this.#fileSystem.syncDirectory(this.directory)
  }

  async #refusing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw refusalOf(error, this.directory)
    }
  }

  #notAsNamed(name: string, found: string): PlayheadError {
    const message = `${this.#path(name)}: found ${found} from the leader, wanted the file that it had named: it was written again meanwhile, or is damaged there; it is asked for again`
    return new PlayheadError('unavailable', message, { outcome: 'notApplied' })
  }

  async #take(name: string): Promise<void> {
    await this.#fileSystem.rename(this.#path(name + temporarySuffix), this.#path(name))
  }

  /** Whole, and as the leader has it. */
  async #has(segment: SharedSegment, salt: Buffer): Promise<boolean> {
    const { baseOffset, sizeBytes, compaction } = segment
    const path = this.#path(segmentFileName(baseOffset))
    if (!(await this.#fileSystem.exists(path))) return false
    const footer = await readFooter(this.#fileSystem, this.#path(sidecarFileName(baseOffset)))
    if (!isFooterOf(footer, segment)) return false
    const file = await this.#fileSystem.open(path, 'read')
    try {
      const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
      await file.read(bytes, 0)
      const header = decodeSegmentHeader(bytes, path)
      return header?.compaction === compaction && header.salt.equals(salt) && (await file.sizeBytes()) === sizeBytes
    } finally {
      await file.close()
    }
  }

  /** Under its temporary name, durable. */
  async #receive(name: string, read: ReadShared): Promise<{ readonly sizeBytes: number; readonly checksum: number }> {
    const path = this.#path(name + temporarySuffix)
    if (await this.#fileSystem.exists(path)) await this.#fileSystem.remove(path)
    const file = await this.#fileSystem.open(path, 'create')
    try {
      let [sizeBytes, checksum] = [0, 0]
      for (let next = read(0); ; ) {
        const bytes = await next
        if (bytes.length === 0) break
        next = read(sizeBytes + bytes.length) // while these are written
        next.catch(() => undefined)
        await file.write([bytes], sizeBytes)
        sizeBytes += bytes.length
        checksum = crc32c(bytes, checksum)
      }
      await file.sync()
      return { sizeBytes, checksum }
    } finally {
      await file.close()
    }
  }

  #path(name: string): string {
    return `${this.directory}/${name}`
  }
}

function isFooterOf(
  footer: Footer | undefined,
  { nextOffset, sizeBytes, compaction, checksum }: SharedSegment,
): boolean {
  if (footer?.segmentChecksum !== checksum || footer.nextOffset !== nextOffset) return false
  return footer.segmentBytes === sizeBytes && footer.compaction === compaction
}
