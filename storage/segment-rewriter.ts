/**
 * SegmentRewriter: a sealed segment written again without the records that are superseded, with its sidecar, under temporary names. Invariants: what is kept
 * is byte for byte what it was but for its version, which it carries from then on; batches keep their offsets, append times, producers and
 * floors; the file ends with a frame that says where the next segment begins; nothing of the old files is touched.
 * Neighbours: Compaction calls it and puts the files in their place; record-filter.ts cuts batches, segment-format.ts draws the file.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { decompressRecords } from '../protocol/compression.ts'
import { decompressedBytesMax, MiB } from '../protocol/limits.ts'
import { streamKeyHash } from '../protocol/murmur2.ts'
import { BATCH_HEADER_BYTES, batchBytes, codec } from '../protocol/record-batch.ts'
import { RecordFilter, REMOVED, UNCHANGED } from '../protocol/record-filter.ts'
import type { KeepRecord } from '../protocol/record-filter.ts'
import type { File } from '../platform/file-system.ts'
import { batchFactsAt } from './batch-facts.ts'
import { RecentPostings } from './recent-postings.ts'
import { Segment } from './segment.ts'
import { SegmentChecksum } from './segment-checksum.ts'
import { encodeSegmentHeader, FRAME_BYTES, frameFloor, SEGMENT_HEADER_BYTES, writeFrame } from './segment-format.ts'
import { scanSegment } from './segment-scan.ts'
import type { ScannedFrame } from './segment-scan.ts'
import { previousChecksum, sidecarPath } from './sealing.ts'
import { Sidecar } from './sidecar.ts'
import { SectionKind } from './sidecar-format.ts'
import { writeSidecar } from './sidecar-writer.ts'
import { temporarySuffix } from './small-file.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'

/** Read at once, and written at once; so much is on its way to the disk at most. */
const sliceBytes = 256 * 1024
const writeBytes = 1 * MiB
const unsyncedBytesMax = 8 * MiB
/** Generations of a segment are counted round and round; 0 = never rewritten. */
const compactionMax = 0xffff

export interface RewriteOptions {
  readonly context: StorageContext
  readonly identity: LogIdentity
  readonly salt: Buffer
  readonly segment: Segment
  /** The version + 1 of the event that stays at each of the segment's offsets, 0 where none does. */
  readonly versions: Float64Array
  /** Of streams with a limit: events with a lower version go all the same. */
  readonly firstVersions: ReadonlyMap<string, number>
  /** Records without a value that were appended before this go. */
  readonly tombstonesBeforeMs: number
  /** Called after each slice; may throw to end it all. */
  readonly pause: () => Promise<void>
}

/** What was written, under temporary names and synced; not part of the log yet. */
export interface RewrittenSegment {
  /** Open for reading, with its indexes. */
  readonly segment: Segment
  readonly removedRecords: number
  /** Streams of which even the newest event is gone, with its version. */
  readonly gone: readonly (readonly [Buffer, number])[]
}

export async function rewriteSegment(options: RewriteOptions): Promise<RewrittenSegment> {
  return await new SegmentRewriter(options).run()
}

class SegmentRewriter {
  readonly #options: RewriteOptions
  readonly #filter = new RecordFilter()
  readonly #checksum = new SegmentChecksum()
  readonly #postings: RecentPostings
  readonly #rewritten: Segment
  readonly #gone: [Buffer, number][] = []
  /** The newest version that a limit has removed of a stream. */
  readonly #limited = new Map<string, number>()
  #file!: File
  #buffer = Buffer.allocUnsafeSlow(2 * writeBytes)
  #filled = 0
  #position = 0
  #unsyncedBytes = 0
  #removedRecords = 0
  #tombstoneMs = Infinity
  /** Of the batch that is looked at. */
  #appendTimeMs = 0

  constructor(options: RewriteOptions) {
    const { segment } = options
    this.#options = options
    this.#postings = new RecentPostings(segment.baseOffset)
    const rewritten = new Segment(segment.path, segment.baseOffset)
    rewritten.compaction = (segment.compaction % compactionMax) + 1
    rewritten.leaderEpoch = segment.leaderEpoch
    this.#rewritten = rewritten
  }

  async run(): Promise<RewrittenSegment> {
    const { context, segment } = this.#options
    const { fileSystem } = context
    const path = segment.path + temporarySuffix
    if (await fileSystem.exists(path)) await fileSystem.remove(path)
    this.#file = await fileSystem.open(path, 'create')
    const source = await fileSystem.open(segment.path, 'read')
    try {
      this.#position = SEGMENT_HEADER_BYTES
      await this.#copyBatches(source)
      await this.#finish()
      await this.#writeSidecar()
    } catch (error) {
      await this.#file.close().catch(() => undefined)
      throw error
    } finally {
      await source.close()
    }
    for (const [stream, version] of this.#limited)
      if (this.#postings.slotOf(stream) < 0) this.#gone.push([Buffer.from(stream), version])
    return { segment: this.#rewritten, removedRecords: this.#removedRecords, gone: this.#gone }
  }

  async #copyBatches(file: File): Promise<void> {
    const { context, salt, segment, pause } = this.#options
    const from = { position: SEGMENT_HEADER_BYTES, nextOffset: segment.baseOffset, leaderEpoch: -1 }
    const { endPosition, compaction } = segment
    let pausedAt = 0
    const end = await scanSegment(
      { file, salt, from, endPosition, sliceBytes, isSparse: compaction > 0, clock: context.clock },
      async (frame) => {
        if (frame.batchEnd > frame.batchStart) await this.#batch(frame)
        if (frame.position - pausedAt < sliceBytes) return
        pausedAt = frame.position
        await pause()
      },
    )
    if (end.nextOffset === segment.nextOffset) return
    const message = `${segment.path}: found ${end.problem ?? 'its end'} at byte ${end.position}, wanted the batches that were written`
    throw new PlayheadError('damagedData', message, { file: segment.path, position: end.position })
  }

  async #batch({ bytes, batchStart, batchEnd, appendTimeMs }: ScannedFrame): Promise<void> {
    this.#appendTimeMs = appendTimeMs
    const records =
      codec(bytes, batchStart) === 'none'
        ? bytes.subarray(batchStart + BATCH_HEADER_BYTES, batchEnd)
        : await decompressRecords(bytes, batchStart, decompressedBytesMax)
    const versions = this.#options.segment.compaction === 0 ? 'missing' : 'written'
    const batch = this.#filter.filter(bytes, batchStart, records, versions, this.#keep)
    if (batch === undefined) return
    const frameBytes = FRAME_BYTES + batch.length
    if (this.#filled + frameBytes > this.#buffer.length) await this.#flush()
    if (frameBytes > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(2 * frameBytes)
    const at = this.#filled
    batch.copy(this.#buffer, at + FRAME_BYTES)
    writeFrame(
      this.#buffer,
      at,
      this.#options.salt,
      batch.length,
      appendTimeMs,
      frameFloor(bytes, batchStart - FRAME_BYTES),
    )
    this.#filled += frameBytes
    const rewritten = this.#rewritten
    rewritten.takeBatchAt(
      this.#position + at,
      batchFactsAt(this.#buffer, at + FRAME_BYTES),
      batchBytes(batch),
      appendTimeMs,
    )
    if (this.#filled >= writeBytes) await this.#flush()
  }

  readonly #keep: KeepRecord = (offset, records, keyStart, keyEnd, valueBytes) => {
    if (keyStart < 0) return UNCHANGED
    const { segment, versions, tombstonesBeforeMs } = this.#options
    const version = versions[offset - segment.baseOffset]! - 1
    if (version < 0) {
      this.#removedRecords++
      return REMOVED
    }
    const { firstVersions } = this.#options
    if (firstVersions.size > 0) {
      const stream = records.toString('utf8', keyStart, keyEnd)
      if (version < (firstVersions.get(stream) ?? 0)) {
        this.#removedRecords++
        this.#limited.set(stream, version)
        return REMOVED
      }
    }
    if (valueBytes < 0 && this.#appendTimeMs < tombstonesBeforeMs) {
      this.#removedRecords++
      this.#gone.push([Buffer.from(records.subarray(keyStart, keyEnd)), version])
      return REMOVED
    }
    if (valueBytes < 0) this.#tombstoneMs = Math.min(this.#tombstoneMs, this.#appendTimeMs)
    const hash = streamKeyHash(records, keyStart, keyEnd)
    const slot = this.#postings.add(records, keyStart, keyEnd, hash, offset)
    if (this.#postings.count(slot) === 1) this.#postings.declareFirstVersion(slot, version)
    return version
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return
    const bytes = this.#buffer.subarray(0, this.#filled)
    await this.#file.write([bytes], this.#position)
    this.#position += bytes.length
    this.#unsyncedBytes += bytes.length
    this.#filled = 0
    if (this.#unsyncedBytes < unsyncedBytesMax) return
    this.#unsyncedBytes = 0
    await this.#file.sync() // now and then, or the last one would make appends wait for all of it
  }

  /** The last frame, then the header, and all of it on disk. */
  async #finish(): Promise<void> {
    const { salt, segment, identity } = this.#options
    const rewritten = this.#rewritten
    await this.#flush()
    const frame = Buffer.alloc(FRAME_BYTES)
    writeFrame(frame, 0, salt, 0, rewritten.lastAppendTimeMs, segment.nextOffset)
    await this.#file.write([frame], this.#position)
    rewritten.takeFloorFrameAt(this.#position)
    rewritten.tombstoneMs = this.#tombstoneMs === Infinity ? 0 : this.#tombstoneMs
    const { topicId, partition } = identity
    const { baseOffset, compaction, tombstoneMs } = rewritten
    const header = encodeSegmentHeader({
      topicId,
      partition,
      baseOffset,
      salt,
      leaderEpoch: Math.max(0, rewritten.leaderEpoch),
      compaction,
      tombstoneMs,
    })
    await this.#file.write([header], 0)
    await this.#file.sync()
    rewritten.nextOffset = segment.nextOffset
    rewritten.allocatedEnd = rewritten.endPosition
    rewritten.sealed = true
    rewritten.file = this.#file
    await this.#sumUp()
  }

  /** From what the file has now: what is in the sidecar is what a reader will find. */
  async #sumUp(): Promise<void> {
    const slice = Buffer.allocUnsafeSlow(writeBytes)
    for (let at = 0; at < this.#rewritten.endPosition; ) {
      const count = await this.#file.read(
        slice.subarray(0, Math.min(slice.length, this.#rewritten.endPosition - at)),
        at,
      )
      if (count === 0)
        throw new Error(`${this.#file.path}: ${at} bytes where ${this.#rewritten.endPosition} were written`)
      this.#checksum.add(slice.subarray(0, count))
      at += count
      await this.#options.pause()
    }
  }

  async #writeSidecar(): Promise<void> {
    const { context, identity, segment } = this.#options
    const { fileSystem, clock } = context
    const rewritten = this.#rewritten
    const parts = await writeSidecar({
      summary: {
        topicId: identity.topicId,
        partition: identity.partition,
        baseOffset: rewritten.baseOffset,
        nextOffset: rewritten.nextOffset,
        leaderEpoch: Math.max(0, rewritten.leaderEpoch),
        batches: rewritten.batchCount,
        records: rewritten.recordCount,
        maxTimestamp: rewritten.maxTimestamp,
        firstAppendTimeMs: rewritten.firstAppendTimeMs,
        lastAppendTimeMs: rewritten.lastAppendTimeMs,
        segmentBytes: rewritten.endPosition,
        segmentChecksum: this.#checksum.at(rewritten.endPosition)!,
        previousChecksum: await previousChecksum(context, identity, segment),
        compaction: rewritten.compaction,
      },
      offsets: rewritten.indexes!.offsets.encode(),
      times: rewritten.indexes!.times.encode(),
      producers: await this.#producers(),
      tables: [this.#postings],
      versionOf: (streamParts) => {
        const { table, slot } = streamParts[0]!
        throw new Error(`${table.keys.stream(slot)} has no version`)
      },
      clock,
    })
    const path = sidecarPath(identity, segment) + temporarySuffix
    if (await fileSystem.exists(path)) await fileSystem.remove(path)
    const file = await fileSystem.open(path, 'create')
    try {
      await file.write(parts, 0)
      await file.sync()
    } finally {
      await file.close()
    }
  }

  /** How far producers had got at the segment's end does not change. */
  async #producers(): Promise<Buffer> {
    const { context, identity, segment } = this.#options
    await using sidecar = await Sidecar.open(context.fileSystem, sidecarPath(identity, segment))
    return (await sidecar.section(SectionKind.producers)) ?? Buffer.alloc(0)
  }
}
