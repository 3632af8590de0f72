/**
 * Sealing: what happens to a segment of one log after its last batch: cut to its size and given its sidecar; one that an earlier run began is
 * read once more for that. In the background, one after the other, in small slices; a crash in between costs nothing, recovery does it again.
 * Also the way back: the sparse indexes of a sealed segment, from its sidecar or, failing that, from the segment itself.
 * Neighbours: SegmentChain hands full segments over, recovery.ts those whose sidecar is missing; sidecar-writer.ts makes the bytes.
 */
import { crc32c } from '../protocol/crc32c.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { decompressedBytesMax, KiB, MiB } from '../protocol/limits.ts'
import { sleep } from '../platform/clock.ts'
import type { File } from '../platform/file-system.ts'
import { batchFactsAt } from './batch-facts.ts'
import { eachKey, type KeyVisitor } from './batch-streams.ts'
import { OffsetIndex } from './offset-index.ts'
import { RecentPostings } from './recent-postings.ts'
import { Segment } from './segment.ts'
import type { SegmentIndexes } from './segment.ts'
import { FRAME_BYTES, SEGMENT_HEADER_BYTES, sidecarFileName } from './segment-format.ts'
import { scanSegment } from './segment-scan.ts'
import { readFooter, Sidecar } from './sidecar.ts'
import { SectionKind } from './sidecar-format.ts'
import { writeSidecar } from './sidecar-writer.ts'
import { replaceFile } from './small-file.ts'
import type { SegmentTables } from './segment-tables.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'
import { TimeIndex } from './time-index.ts'
import { readingAround } from './unreadable.ts'

/** Read and checked between two yields, while appends go on. */
const sliceBytes = 1024 * KiB
/** The same where every key is looked at. */
const walkedSliceBytes = 256 * KiB
/** Streams of a segment whose versions are looked for without waiting: a few milliseconds. */
const lookedUpMax = 4096
/** Tables of the segments of a log that wait for a save of its index, all together. */
const waitingBytesMax = 64 * MiB
const saveWaitMsMax = 60_000
const saveLookMs = 100
/** Slices in one turn for each segment that has no sidecar yet. */
const hastePerSegment = 4

/** A segment that will take no more batches: it has its file open and all its bytes are durable. */
export interface FullSegment {
  readonly segment: Segment
  /** ProducerState.snapshot() as of the segment's end. */
  readonly producers: Buffer
  /** All its events by stream; undefined when an earlier run began it. */
  readonly tables: SegmentTables | undefined
}

export interface SealingOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly index: StreamIndex
}

/** Ends a scan that is no longer wanted. */
const stopped = Symbol('stopped')

export class Sealing {
  readonly #options: SealingOptions
  /** What is not saved is the index's. */
  readonly dirtyBytes = 0
  readonly #waiting: FullSegment[] = []
  #underWay: Segment | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: SealingOptions) {
    this.#options = options
  }

  /** Takes the segment over. */
  add(full: FullSegment): void {
    full.segment.sealed = true
    this.#waiting.push(full)
    this.#running ??= this.#run().finally(() => (this.#running = undefined))
  }

  /** Those of segments that wait: the tables of the one under way are in use. */
  get segmentTables(): readonly SegmentTables[] {
    return this.#waiting.flatMap(({ tables }) => tables ?? [])
  }

  /** Segments that are being finished, or wait for that. */
  get count(): number {
    return this.#waiting.length + (this.#underWay === undefined ? 0 : 1)
  }

  /** Whether the segment is still being finished, or waits for that. */
  isUnfinished(segment: Segment): boolean {
    return this.#underWay === segment || this.#waiting.some((full) => full.segment === segment)
  }

  /** Ends what is under way; it is done again at the next start. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  /** The sparse indexes of a sealed segment. */
  async loadIndexes(segment: Segment, file: File): Promise<SegmentIndexes> {
    const { context, identity } = this.#options
    try {
      await using sidecar = await Sidecar.open(context.fileSystem, sidecarPath(identity, segment))
      const offsets = OffsetIndex.decode((await sidecar.section(SectionKind.offsets)) ?? nothing)
      const times = TimeIndex.decode((await sidecar.section(SectionKind.times)) ?? nothing)
      if (offsets !== undefined && times?.count === offsets.count) return { offsets, times }
    } catch (error) {
      // Whatever else is wrong with it: the segment has it all.
      if (isPlayheadError(error, 'tierUnavailable') || isPlayheadError(error, 'tierRefused')) throw error
    }
    context.report('warn', `${segment.path}: its sidecar cannot be read; its index is made again from the segment`)
    const copy = new Segment(segment.path, segment.baseOffset)
    copy.compaction = segment.compaction
    await this.#scan(readingAround(file), segment, sliceBytes, (frame) => {
      const { position, bytes, batchStart, batchEnd, appendTimeMs } = frame
      if (batchEnd > batchStart)
        copy.takeBatchAt(position, batchFactsAt(bytes, batchStart), batchEnd - batchStart, appendTimeMs)
    })
    return copy.indexes ?? { offsets: new OffsetIndex(), times: new TimeIndex() }
  }

  async #run(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined && !this.#stopped; next = this.#waiting.shift()) {
      this.#underWay = next.segment
      try {
        await this.#seal(next)
        this.#options.context.pool.letGo(next.segment)
      } catch (error) {
        if (error !== stopped)
          this.#options.context.report(
            'warn',
            `${next.segment.path}: not sealed, the next start does it: ${String(error)}`,
          )
      } finally {
        this.#underWay = undefined
      }
    }
  }

  async #seal({ segment, producers, tables }: FullSegment): Promise<void> {
    const { context, identity, index } = this.#options
    const { file, indexes } = segment
    if (file === undefined || indexes === undefined) throw new Error('it is not open')
    const kept = tables?.all
    await cutToSize(context, segment, file)
    const known = segment.checksum?.at(segment.endPosition)
    const { checksum, tables: found } =
      known === undefined || kept === undefined
        ? await this.#read(segment, file, kept)
        : { checksum: known, tables: kept }
    if (tables !== undefined && kept?.some(({ streams }) => streams > lookedUpMax)) await this.#saved(segment, tables)
    const versionOf = index.versionsInOrder(tables === undefined ? undefined : segment.nextOffset)
    const parts = await writeSidecar({
      summary: {
        topicId: identity.topicId,
        partition: identity.partition,
        baseOffset: segment.baseOffset,
        nextOffset: segment.nextOffset,
        leaderEpoch: Math.max(0, segment.leaderEpoch), // of a rewritten one there may be no batch left that has one
        batches: segment.batchCount,
        records: segment.recordCount,
        maxTimestamp: segment.maxTimestamp,
        firstAppendTimeMs: segment.firstAppendTimeMs,
        lastAppendTimeMs: segment.lastAppendTimeMs,
        segmentBytes: segment.endPosition,
        segmentChecksum: checksum,
        previousChecksum: await previousChecksum(context, identity, segment),
        compaction: segment.compaction,
      },
      offsets: indexes.offsets.encode(),
      times: indexes.times.encode(),
      producers,
      tables: found,
      versionOf: (streamParts) => {
        const version = versionOf(streamParts)
        // An index made while some of the log could not be read. A sidecar that says so would be none.
        if (version < 0) throw new Error(`the stream index lacks events at or past offset ${segment.baseOffset}`)
        return version
      },
      // Segments that wait have files open and maybe tables in memory.
      clock: context.haste.yielding(() => hastePerSegment * this.count),
    })
    if (this.#stopped) throw stopped
    await replaceFile(context.fileSystem, sidecarPath(identity, segment), parts)
    for (const table of found) table.isSealed = true
  }

  /** Goes over a segment of an earlier run: its checksum, and its events by stream where they are not known. */
  async #read(segment: Segment, file: File, tables: readonly RecentPostings[] | undefined) {
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(header, 0)
    let checksum = crc32c(header)
    const postings = new RecentPostings(segment.baseOffset)
    const add: KeyVisitor = (bytes, from, to, hash, offset) => void postings.add(bytes, from, to, hash, offset)
    const slices = tables === undefined ? walkedSliceBytes : sliceBytes
    const end = await this.#scan(file, segment, slices, ({ bytes, batchStart, batchEnd }) => {
      if (this.#stopped) throw stopped
      checksum = crc32c(bytes.subarray(batchStart - FRAME_BYTES, batchEnd), checksum)
      if (tables !== undefined || batchEnd === batchStart) return undefined
      return eachKey(bytes, batchStart, decompressedBytesMax, add)
    })
    if (end.position !== segment.endPosition || (end.nextOffset !== segment.nextOffset && segment.compaction === 0))
      throw new Error(`damage at byte ${end.position}: ${end.problem}`)
    return { checksum, tables: tables ?? [postings] }
  }

  /**
   * A save of the index tells its tables which versions they hold, which is cheaper than to look for those of many streams. It comes every few
   * seconds, so it is worth waiting for, while the segments that wait are small in memory.
   */
  async #saved(segment: Segment, tables: SegmentTables): Promise<void> {
    const { context, index } = this.#options
    const deadlineMs = context.clock.monotonicMs() + saveWaitMsMax
    while (index.indexedTo < segment.nextOffset) {
      const bytes = [tables, ...this.segmentTables].reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
      if (bytes > waitingBytesMax || index.captureFailed || context.clock.monotonicMs() > deadlineMs) return
      await sleep(context.clock, saveLookMs)
      if (this.#stopped) throw stopped
    }
  }

  #scan(file: File, segment: Segment, slices: number, visit: Parameters<typeof scanSegment>[1]) {
    const from = { position: SEGMENT_HEADER_BYTES, nextOffset: segment.baseOffset, leaderEpoch: -1 }
    const { salt, context } = this.#options
    return scanSegment(
      {
        file,
        salt,
        from,
        endPosition: segment.endPosition,
        sliceBytes: slices,
        isSparse: segment.compaction > 0,
        clock: context.clock,
      },
      visit,
    )
  }
}

const nothing = Buffer.alloc(0)

/** A failed sync of a log file ends the process, here as anywhere. */
async function cutToSize(context: StorageContext, segment: Segment, file: File): Promise<void> {
  if ((await file.sizeBytes()) !== segment.endPosition) await file.truncate(segment.endPosition)
  try {
    // Also when the size is right: what an earlier run wrote last may not be on disk yet, and the sidecar sums it up.
    await file.sync()
  } catch (error) {
    context.onFatal(error instanceof Error ? error : new Error(String(error)))
    throw error
  }
}

export function sidecarPath(identity: LogIdentity, segment: { readonly baseOffset: number }): string {
  return `${identity.directory}/${sidecarFileName(segment.baseOffset)}`
}

/** Of the segment before it; 0 when that is the first one or has no sidecar because it is damaged. */
export async function previousChecksum(
  { fileSystem }: StorageContext,
  identity: LogIdentity,
  segment: { readonly baseOffset: number },
): Promise<number> {
  const names = await fileSystem.list(identity.directory)
  const previous = names.filter((name) => name.endsWith('.idx') && name < sidecarFileName(segment.baseOffset)).at(-1)
  const footer = previous === undefined ? undefined : await readFooter(fileSystem, `${identity.directory}/${previous}`)
  return footer?.nextOffset === segment.baseOffset ? footer.checksum : 0
}
