/**
 * SharedFiles: the sealed segments of a log, and what stands beside them, as files that another replica may take over: one whose log ends before this one begins, or in a
 * part that was rewritten, where batches alone do not say which versions they are.
 * Invariant: `snapshot` is one moment of the log; heads files that are newer than that are as true.
 * Neighbours: LogFiles has one; replication's leader answers from it; IncomingLog is the other end.
 */
import { isMissing } from '../platform/file-system.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { sharedFilesMax } from '../protocol/limits.ts'
import { findHeads, headsFileName } from './heads.ts'
import type { EpochStart, LeaderEpochs } from './leader-epochs.ts'
import type { LogFacts, LogFactValues } from './log-facts.ts'
import { sidecarPath } from './sealing.ts'
import type { Sealing } from './sealing.ts'
import type { Segment } from './segment.ts'
import type { SegmentChain } from './segment-chain.ts'
import { segmentFileName, sidecarFileName } from './segment-format.ts'
import { readFooter } from './sidecar.ts'
import type { Footer } from './sidecar-format.ts'
import type { LogIdentity } from './storage-context.ts'

/** A sealed segment; it is the same file wherever these are the same. */
export interface SharedSegment {
  readonly baseOffset: number
  readonly nextOffset: number
  readonly sizeBytes: number
  /** How often it was rewritten. */
  readonly compaction: number
  /** CRC-32C of the file. */
  readonly checksum: number
}

export interface LogSnapshot {
  readonly facts: LogFactValues
  /** The same in all of its segments. */
  readonly salt: Buffer
  /** Where the first segment begins, shared or not. */
  readonly baseOffset: number
  /** In order, without gaps, from `baseOffset` on. */
  readonly segments: readonly SharedSegment[]
  /** Of the last shared segment; -1 = there is none. */
  readonly leaderEpoch: number
  readonly epochs: readonly EpochStart[]
  /** The ends of its heads files. */
  readonly heads: readonly number[]
}

/** What of a log may be read. */
export type SharedKind = 'segment' | 'sidecar' | 'heads'

export interface SharedFilesOptions {
  readonly fileSystem: FileSystem
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly chain: SegmentChain
  readonly sealing: Sealing
  readonly facts: LogFacts
  readonly epochs: LeaderEpochs
}

export class SharedFiles {
  readonly #options: SharedFilesOptions

  constructor(options: SharedFilesOptions) {
    this.#options = options
  }

  /**
   * Whether a replica whose log ends at `offset` cannot go on with batches: they are not there any more, or compaction has taken some of them, and those
   * that are left do not follow one another.
   */
  areNeededFrom(offset: number): boolean {
    const { chain, facts } = this.#options
    if (offset < (chain.segments[0]?.baseOffset ?? facts.logStartOffset)) return true
    for (let place = chain.segments.length - 1; place >= 0; place--) {
      const { nextOffset, compaction } = chain.segments[place]!
      if (nextOffset <= offset) return false
      if (compaction > 0) return true
    }
    return false
  }

  /** Throws damagedData when a part that is needed cannot be given, unavailable while it is being sealed, overloaded for more files than a list has room for. */
  async snapshot(): Promise<LogSnapshot> {
    const { chain, facts, salt, epochs, fileSystem, identity } = this.#options
    const footers = new Map<number, Footer>()
    for (const segment of chain.segments.slice()) {
      const footer = segment.sealed ? await readFooter(fileSystem, sidecarPath(identity, segment)) : undefined
      if (footer !== undefined) footers.set(segment.baseOffset, footer)
    }
    const segments = this.#shareable(footers)
    const last = segments.at(-1)
    const baseOffset = chain.segments[0]?.baseOffset ?? facts.logStartOffset
    const endOffset = last?.nextOffset ?? baseOffset
    if (this.areNeededFrom(endOffset)) throw this.#notReady(chain.segments[segments.length])
    if (segments.length > sharedFilesMax) throw this.#tooMany(segments.length)
    const moment = {
      // Behind the end it is told of by the metadata, when the records before it are there.
      facts: { ...facts.values, logStartOffset: Math.min(facts.logStartOffset, endOffset) },
      salt,
      baseOffset,
      segments: segments.map((segment) => sharedSegment(segment, footers.get(segment.baseOffset)!)),
      leaderEpoch: last?.leaderEpoch ?? -1,
      epochs: epochs.starts.filter(({ startOffset }) => startOffset < endOffset),
    }
    // Behind the segments: of one that goes meanwhile there is a file before it goes.
    const heads = await findHeads(fileSystem, identity.directory)
    return { ...moment, heads: heads.map((file) => file.endOffset) }
  }

  /** Bytes of a file from `position` on, none at its end. `offset`: where the segment begins, or the heads end. Throws unavailable when it is gone. */
  async read(kind: SharedKind, offset: number, position: number, bytesMax: number): Promise<Buffer> {
    const { fileSystem, identity } = this.#options
    const path = `${identity.directory}/${fileNameOf(kind, offset)}`
    const file = await fileSystem.open(path, 'read').catch((error: unknown) => {
      throw isMissing(error) ? gone(path) : error
    })
    try {
      const size = await file.sizeBytes()
      const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(bytesMax, size - position)))
      return bytes.subarray(0, await file.read(bytes, position))
    } finally {
      await file.close()
    }
  }

  /** From the first segment to the first that is not ready, or is another one than its footer speaks of. */
  #shareable(footers: ReadonlyMap<number, Footer>): Segment[] {
    const { chain, sealing } = this.#options
    const { segments } = chain
    const end = segments.findIndex((segment) => {
      const footer = footers.get(segment.baseOffset)
      const isReady = segment.sealed && !segment.damaged && !sealing.isUnfinished(segment)
      return !isReady || footer?.compaction !== segment.compaction || footer.segmentBytes !== segment.endPosition
    })
    return segments.slice(0, end < 0 ? segments.length : end)
  }

  #tooMany(count: number): PlayheadError {
    const { topic, partition } = this.#options.identity
    const message = `${topic}/${partition}: found ${count} segments to copy, wanted at most ${sharedFilesMax}; larger ones (segment.bytes) are fewer`
    return new PlayheadError('overloaded', message, { limit: sharedFilesMax })
  }

  #notReady(next: Segment | undefined): PlayheadError {
    const { topic, partition } = this.#options.identity
    const name = `${topic}/${partition}`
    if (next?.damaged === true) {
      const message = `${name}: found damage in ${next.path}, wanted a sound segment to copy; make a replica that has it sound the leader`
      return new PlayheadError('damagedData', message, { file: next.path })
    }
    const message = `${name}: found a segment that is being sealed, wanted it whole; ask again in a moment`
    return new PlayheadError('unavailable', message, { outcome: 'notApplied' })
  }
}

export function fileNameOf(kind: SharedKind, offset: number): string {
  if (kind === 'heads') return headsFileName(offset)
  return kind === 'segment' ? segmentFileName(offset) : sidecarFileName(offset)
}

function sharedSegment({ baseOffset, nextOffset, compaction }: Segment, footer: Footer): SharedSegment {
  return { baseOffset, nextOffset, sizeBytes: footer.segmentBytes, compaction, checksum: footer.segmentChecksum }
}

function gone(path: string): PlayheadError {
  const message = `${path}: found no such file any more, wanted it there; ask again what there is`
  return new PlayheadError('unavailable', message, { outcome: 'notApplied' })
}
