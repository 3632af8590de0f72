/**
 * SidecarCheck: whether a sidecar says what its segment says. Follows the scan of the segment frame by frame: the entries of the sparse indexes
 * must be batches that come by, the footer must have the sums, and the postings the streams.
 * Neighbours: verify-segment.ts drives it; sidecar.ts reads the file. spillPostings makes a stand-in where there is no sidecar.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { readU64LE } from '../protocol/bytes.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { murmur2 } from '../protocol/murmur2.ts'
import { EventSum, otherKeyHash } from './event-sum.ts'
import { compareKeys } from './key-order.ts'
import { ProducerState } from './producer-state.ts'
import type { RecentPostings } from './recent-postings.ts'
import type { BatchFacts } from './segment.ts'
import { SegmentChecksum } from './segment-checksum.ts'
import { FRAME_BYTES } from './segment-format.ts'
import { type PostingsEntries, Sidecar } from './sidecar.ts'
import { type Footer, SectionKind } from './sidecar-format.ts'
import { writeSidecar } from './sidecar-writer.ts'
import type { Findings } from './verify-findings.ts'

export interface SidecarCheckOptions {
  readonly fileSystem: FileSystem
  readonly segmentPath: string
  readonly findings: Findings
  readonly clock: Clock
}

export interface ExpectedSegment {
  /** In hex. */
  readonly topicId: string
  readonly partition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly sizeBytes: number
}

interface OpenedSidecar {
  readonly sidecar: Sidecar
  readonly offsets: Buffer | undefined
  readonly times: Buffer | undefined
}

const indexEntryBytes = 16
const noBytes = Buffer.alloc(0)

export class SidecarCheck {
  readonly path: string
  readonly #options: SidecarCheckOptions
  readonly #sidecar: Sidecar | undefined
  readonly #offsets: Buffer
  readonly #times: Buffer
  readonly found: boolean
  readonly #segmentChecksum = new SegmentChecksum()
  #checkedBytes = 0
  #entry = 0
  #batches = 0
  #records = 0
  #maxTimestamp = -Infinity
  #firstAppendTimeMs = 0
  #lastAppendTimeMs = 0
  #leaderEpoch = 0
  #isSound = true
  #isAside = false

  private constructor(options: SidecarCheckOptions, path: string, file: 'there' | 'missing', opened?: OpenedSidecar) {
    this.#options = options
    this.path = path
    this.found = file === 'there'
    this.#sidecar = opened?.sidecar
    this.#offsets = opened?.offsets ?? noBytes
    this.#times = opened?.times ?? noBytes
  }

  /** A sidecar that cannot be read is a finding; then the checks that follow pass over it. */
  static async open(options: SidecarCheckOptions): Promise<SidecarCheck> {
    const path = options.segmentPath.replace(/\.log$/, '.idx')
    if (!(await options.fileSystem.exists(path))) return new SidecarCheck(options, path, 'missing')
    let sidecar: Sidecar | undefined
    try {
      sidecar = await Sidecar.open(options.fileSystem, path)
      await sidecar.checkBody()
      const offsets = await sidecar.section(SectionKind.offsets)
      const times = await sidecar.section(SectionKind.times)
      return new SidecarCheck(options, path, 'there', { sidecar, offsets, times })
    } catch (error) {
      await sidecar?.[Symbol.asyncDispose]()
      if (!(error instanceof PlayheadError)) throw error
      options.findings.damaged(path, 0, error.message)
      return new SidecarCheck(options, path, 'there')
    }
  }

  /** Undefined when there is none to rely on. */
  get footer(): Footer | undefined {
    return this.#isAside ? undefined : this.#sidecar?.footer
  }

  /** It is about another file: as good as none. */
  setAside(): void {
    this.#isAside = true
  }

  /** Whether there is none, or none to rely on. */
  get isMissing(): boolean {
    return this.#isAside || this.#sidecar === undefined
  }

  header(bytes: Buffer): void {
    this.#checksum(bytes)
  }

  /** The next frame of the segment, one without a batch. */
  floorFrame(bytes: Buffer): void {
    if (this.#sidecar !== undefined) this.#checksum(bytes)
  }

  /** The next frame of the segment, with its batch at bytes [start, end), whose checksum holds. */
  batchFrame(
    bytes: Buffer,
    start: number,
    end: number,
    facts: BatchFacts,
    position: number,
    appendTimeMs: number,
  ): void {
    if (this.#sidecar === undefined) return
    this.#checksum(bytes.subarray(start - FRAME_BYTES, start))
    this.#segmentChecksum.addBatch(bytes.subarray(start, end))
    this.#checkedBytes += end - start
    this.#indexEntry(facts.baseOffset, position, appendTimeMs)
    if (this.#batches === 0) this.#firstAppendTimeMs = appendTimeMs
    this.#lastAppendTimeMs = appendTimeMs
    this.#batches++
    this.#records += facts.recordCount
    this.#maxTimestamp = Math.max(this.#maxTimestamp, facts.maxTimestamp)
    this.#leaderEpoch = facts.leaderEpoch
  }

  /**
   * Compares what was summed up; answers whether there is a sidecar and all of it is as the segment says. `events`: all of the segment. With their
   * sum alone no stream can be named: ask again with a table.
   */
  async finish(expected: ExpectedSegment, events: RecentPostings | EventSum): Promise<boolean> {
    const sidecar = this.#sidecar
    if (sidecar === undefined || this.#isAside) return false
    this.#compareFooter(sidecar.footer, expected)
    const entries = this.#offsets.length < 4 ? 0 : this.#offsets.readUInt32LE(0)
    if (this.#offsets.length !== 4 + entries * indexEntryBytes || this.#times.length !== this.#offsets.length) {
      this.#damaged(
        `sparse indexes of ${this.#offsets.length} and ${this.#times.length} bytes`,
        `the same ${entries} entries in both`,
      )
    } else if (this.#entry !== entries || (entries === 0 && this.#batches > 0)) {
      this.#damaged(`index entry ${this.#entry} of ${entries}`, 'the place of a batch and its times')
    }
    const guarded = await this.#options.findings.guard(this.path, async () => {
      // Empty where the state at the segment's end was not known any more when its sidecar was made.
      const producers = (await sidecar.section(SectionKind.producers)) ?? noBytes
      if (producers.length > 0) new ProducerState(Number.POSITIVE_INFINITY).restore(producers)
      const streams = await this.#comparePostings(sidecar, events)
      if (streams !== sidecar.footer.streams)
        this.#damaged(`streams ${sidecar.footer.streams}`, `${streams}, as the segment says`)
    })
    return guarded && this.#isSound
  }

  async close(): Promise<void> {
    await this.#sidecar?.[Symbol.asyncDispose]()
  }

  #checksum(bytes: Buffer): void {
    this.#segmentChecksum.add(bytes)
    this.#checkedBytes += bytes.length
  }

  /** Entries are batches in order: each is met once, or `#entry` stays where it is and the end tells. */
  #indexEntry(baseOffset: number, position: number, appendTimeMs: number): void {
    const at = 4 + this.#entry * indexEntryBytes
    if (at + indexEntryBytes > this.#offsets.length || at + indexEntryBytes > this.#times.length) return
    if (readU64LE(this.#offsets, at) !== baseOffset) return
    const rest = readU64LE(this.#offsets, at + 8) === position && readU64LE(this.#times, at) === appendTimeMs
    if (rest && this.#times.readDoubleLE(at + 8) === this.#maxTimestamp) this.#entry++
  }

  #compareFooter(footer: Footer, expected: ExpectedSegment): void {
    const wanted: Partial<Record<keyof Footer, number>> = {
      partition: expected.partition,
      baseOffset: expected.baseOffset,
      nextOffset: expected.nextOffset,
      segmentBytes: expected.sizeBytes,
      segmentChecksum: this.#segmentChecksum.at(this.#checkedBytes)!,
      batches: this.#batches,
      records: this.#records,
      maxTimestamp: this.#maxTimestamp,
      firstAppendTimeMs: this.#firstAppendTimeMs,
      lastAppendTimeMs: this.#lastAppendTimeMs,
    }
    if (this.#batches > 0) wanted.leaderEpoch = this.#leaderEpoch
    for (const [field, value] of Object.entries(wanted)) {
      const found = footer[field as keyof Footer]
      if (found !== value) this.#damaged(`${field} ${String(found)}`, `${value}, as the segment says`)
    }
    const topicId = footer.topicId.toString('hex')
    if (topicId !== expected.topicId) this.#damaged(`topic ${topicId}`, 'that of its directory')
  }

  /** Answers how many streams the segment has. */
  async #comparePostings(sidecar: Sidecar, events: RecentPostings | EventSum): Promise<number> {
    const sum = new EventSum()
    let count = 0
    let lastName: Buffer | undefined
    for await (const entries of sidecar.blocks()) {
      await this.#options.clock.yield()
      const visit =
        events instanceof EventSum ? () => sumEvents(entries, sum) : () => this.#compareStream(entries, events)
      count += this.#eachStream(entries, lastName, visit)
      lastName = entries.bytes.subarray(entries.nameStart, entries.nameEnd)
    }
    if (events instanceof EventSum) {
      if (!sum.equals(events)) this.#damaged('other events', 'those of the segment')
      return count
    }
    if (count !== events.streams) this.#damaged(`postings of ${count} streams`, String(events.streams))
    return events.streams
  }

  /** Answers the streams in the block. */
  #eachStream(entries: PostingsEntries, nameBefore: Buffer | undefined, visit: () => void): number {
    const { bytes } = entries
    let count = 0
    let [before, start, end] = [nameBefore ?? noBytes, 0, nameBefore?.length ?? -1]
    for (; entries.next(); count++) {
      const { nameStart, nameEnd } = entries
      // A search would not find what is not in its place.
      if (end >= 0 && compareKeys(before, start, end, bytes, nameStart, nameEnd) >= 0)
        this.#damaged(`stream '${entries.stream}' behind a later one`, 'all in order')
      if (entries.count === 0) this.#damaged(`no events of stream '${entries.stream}'`, 'at least one')
      before = bytes
      start = nameStart
      end = nameEnd
      visit()
    }
    return count
  }

  #compareStream(entries: PostingsEntries, postings: RecentPostings): void {
    const { bytes, nameStart, nameEnd } = entries
    const slot = postings.keys.find(bytes, nameStart, nameEnd, murmur2(bytes, nameStart, nameEnd))
    const isSame =
      slot >= 0 && postings.count(slot) === entries.count && postings.hasOffsets(slot, entries) && entries.isRead
    if (!isSame) this.#damaged(`other offsets of stream '${entries.stream}'`, 'those of the segment')
  }

  #damaged(found: string, wanted: string): void {
    this.#isSound = false
    this.#options.findings.damaged(this.path, 0, `found ${found}, wanted ${wanted}; ${deleteIt}`)
  }
}

export const deleteIt = 'delete the file, it is rebuilt from its segment'

function sumEvents(entries: PostingsEntries, sum: EventSum): void {
  const { bytes, nameStart, nameEnd } = entries
  const hash = murmur2(bytes, nameStart, nameEnd)
  const otherHash = otherKeyHash(bytes, nameStart, nameEnd)
  for (let left = entries.count; left > 0; left--) sum.add(hash, otherHash, entries.nextOffset())
  if (!entries.isRead) sum.events = -1 // bytes that no event stands for
}

/** Writes what a segment without a sidecar would have in one, as far as streams and offsets go. */
export async function spillPostings(
  { fileSystem, clock }: Pick<SidecarCheckOptions, 'fileSystem' | 'clock'>,
  path: string,
  postings: RecentPostings,
): Promise<void> {
  const parts = await writeSidecar({
    summary: noSummary,
    offsets: noBytes,
    times: noBytes,
    producers: noBytes,
    tables: [postings],
    versionOf: () => 0,
    clock,
  })
  const file = await fileSystem.open(path, 'create')
  try {
    let position = 0
    for (let place = 0; place < parts.length; place += partsPerWrite) {
      const some = parts.slice(place, place + partsPerWrite)
      await file.write(some, position)
      for (const { length } of some) position += length
    }
  } finally {
    await file.close()
  }
}

/** Buffers given to the kernel at once. */
const partsPerWrite = 512
const noSummary = {
  topicId: Buffer.alloc(16),
  partition: 0,
  baseOffset: 0,
  nextOffset: 0,
  leaderEpoch: 0,
  batches: 0,
  records: 0,
  maxTimestamp: 0,
  firstAppendTimeMs: 0,
  lastAppendTimeMs: 0,
  segmentBytes: 0,
  segmentChecksum: 0,
  previousChecksum: 0,
  compaction: 0,
}
