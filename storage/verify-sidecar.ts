/**
 * SidecarCheck: whether a sidecar says what its segment says. Follows the scan of the segment frame by frame: the entries of the sparse indexes
 * must be batches that come by, the footer must have the sums, and the postings the streams.
 * Neighbours: verify-log.ts drives it; sidecar.ts reads the file.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { readU64LE } from '../protocol/bytes.ts'
import { crc32c } from '../protocol/crc32c.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { batchFactsAt } from './batch-facts.ts'
import { ProducerState } from './producer-state.ts'
import type { RecentPostings } from './recent-postings.ts'
import { FRAME_BYTES } from './segment-format.ts'
import { Sidecar } from './sidecar.ts'
import { type Footer, SectionKind } from './sidecar-format.ts'
import type { Findings } from './verify-findings.ts'

export interface SidecarCheckOptions {
  readonly fileSystem: FileSystem
  readonly segmentPath: string
  readonly findings: Findings
  readonly clock: Clock
}

export interface ExpectedSegment {
  readonly topicId: Buffer
  readonly partition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly sizeBytes: number
  /** Undefined when the sidecar before cannot be relied on. */
  readonly previousChecksum: number | undefined
}

interface OpenedSidecar {
  readonly sidecar: Sidecar
  readonly offsets: Buffer | undefined
  readonly times: Buffer | undefined
}

const streamsPerTurn = 512
const indexEntryBytes = 16

export class SidecarCheck {
  readonly #path: string
  readonly #options: SidecarCheckOptions
  readonly #sidecar: Sidecar | undefined
  readonly #offsets: Buffer
  readonly #times: Buffer
  readonly found: boolean
  #entry = 0
  #segmentChecksum = 0
  #batches = 0
  #records = 0
  #maxTimestamp = -Infinity
  #firstAppendTimeMs = 0
  #lastAppendTimeMs = 0
  #leaderEpoch = 0

  private constructor(options: SidecarCheckOptions, path: string, file: 'there' | 'missing', opened?: OpenedSidecar) {
    this.#options = options
    this.#path = path
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

  /** Where the segment ends, as the footer says; undefined when there is none to rely on. */
  get nextOffset(): number | undefined {
    return this.#sidecar?.footer.nextOffset
  }

  /** Of the footer; undefined when there is none to rely on. */
  get checksum(): number | undefined {
    return this.#sidecar?.footer.checksum
  }

  header(bytes: Buffer): void {
    this.#segmentChecksum = crc32c(bytes)
  }

  /** The next frame of the segment, with its batch if it has one. */
  frame(bytes: Buffer, position: number, appendTimeMs: number): void {
    if (this.#sidecar === undefined) return
    this.#segmentChecksum = crc32c(bytes, this.#segmentChecksum)
    if (bytes.length === FRAME_BYTES) return
    const facts = batchFactsAt(bytes, FRAME_BYTES)
    this.#indexEntry(facts.baseOffset, position, appendTimeMs)
    if (this.#batches === 0) this.#firstAppendTimeMs = appendTimeMs
    this.#lastAppendTimeMs = appendTimeMs
    this.#batches++
    this.#records += facts.recordCount
    this.#maxTimestamp = Math.max(this.#maxTimestamp, facts.maxTimestamp)
    this.#leaderEpoch = facts.leaderEpoch
  }

  /** Compares what was summed up. `versionBefore`: of a stream before this segment; -1 when that is not known. */
  async finish(
    expected: ExpectedSegment,
    postings: RecentPostings,
    versionBefore: (stream: string) => number,
  ): Promise<void> {
    const sidecar = this.#sidecar
    if (sidecar === undefined) return
    this.#compareFooter(sidecar.footer, expected, postings)
    const entries = this.#offsets.length < 4 ? 0 : this.#offsets.readUInt32LE(0)
    if (this.#offsets.length !== 4 + entries * indexEntryBytes || this.#times.length !== this.#offsets.length) {
      this.#damaged(
        `sparse indexes of ${this.#offsets.length} and ${this.#times.length} bytes`,
        `the same ${entries} entries in both`,
      )
    } else if (this.#entry !== entries || (entries === 0 && this.#batches > 0)) {
      this.#damaged(`index entry ${this.#entry} of ${entries}`, 'the place of a batch and its times')
    }
    await this.#options.findings.guard(this.#path, async () => {
      // Empty where the state at the segment's end was not known any more when its sidecar was made.
      const producers = (await sidecar.section(SectionKind.producers)) ?? noBytes
      if (producers.length > 0) new ProducerState(Number.POSITIVE_INFINITY).restore(producers)
      await this.#comparePostings(sidecar, postings, versionBefore)
    })
  }

  async close(): Promise<void> {
    await this.#sidecar?.[Symbol.asyncDispose]()
  }

  /** Entries are batches in order: each is met once, or `#entry` stays where it is and the end tells. */
  #indexEntry(baseOffset: number, position: number, appendTimeMs: number): void {
    const at = 4 + this.#entry * indexEntryBytes
    if (at + indexEntryBytes > this.#offsets.length || at + indexEntryBytes > this.#times.length) return
    if (readU64LE(this.#offsets, at) !== baseOffset) return
    const rest = readU64LE(this.#offsets, at + 8) === position && readU64LE(this.#times, at) === appendTimeMs
    if (rest && this.#times.readDoubleLE(at + 8) === this.#maxTimestamp) this.#entry++
  }

  #compareFooter(footer: Footer, expected: ExpectedSegment, postings: RecentPostings): void {
    const wanted: Partial<Record<keyof Footer, number>> = {
      partition: expected.partition,
      baseOffset: expected.baseOffset,
      nextOffset: expected.nextOffset,
      segmentBytes: expected.sizeBytes,
      segmentChecksum: this.#segmentChecksum,
      batches: this.#batches,
      records: this.#records,
      streams: postings.streams,
      maxTimestamp: this.#maxTimestamp,
      firstAppendTimeMs: this.#firstAppendTimeMs,
      lastAppendTimeMs: this.#lastAppendTimeMs,
    }
    if (this.#batches > 0) wanted.leaderEpoch = this.#leaderEpoch
    const { previousChecksum } = expected
    // The sidecar before was made, or made again, after this one: its bytes need not be the same, and the segment is what counts.
    if (previousChecksum !== undefined && footer.previousChecksum !== previousChecksum)
      this.#options.findings.note(`${this.#path}: the sidecar before it is newer than this one`)
    for (const [field, value] of Object.entries(wanted)) {
      const found = footer[field as keyof Footer]
      if (found !== value) this.#damaged(`${field} ${String(found)}`, `${value}, as the segment says`)
    }
    if (!footer.topicId.equals(expected.topicId))
      this.#damaged(`topic ${footer.topicId.toString('hex')}`, 'that of its directory')
  }

  async #comparePostings(
    sidecar: Sidecar,
    postings: RecentPostings,
    versionBefore: (stream: string) => number,
  ): Promise<void> {
    let count = 0
    for await (const { stream, firstVersion, offsets } of sidecar.postings()) {
      if (++count % streamsPerTurn === 0) await this.#options.clock.yield()
      const slot = postings.slotOf(stream)
      const wanted: number[] = []
      if (slot >= 0) postings.read(slot, 0, postings.count(slot), wanted)
      const differs = wanted.findIndex((offset, place) => offset !== offsets[place])
      if (wanted.length !== offsets.length || differs >= 0) {
        this.#damaged(`other offsets of stream '${stream}'`, 'those of the segment')
      }
      const version = versionBefore(stream)
      if (version >= 0 && version !== firstVersion)
        this.#damaged(`stream '${stream}' from version ${firstVersion}`, String(version))
    }
    if (count !== postings.streams) this.#damaged(`postings of ${count} streams`, String(postings.streams))
  }

  #damaged(found: string, wanted: string): void {
    this.#options.findings.damaged(
      this.#path,
      0,
      `found ${found}, wanted ${wanted}; delete the file, it is rebuilt from its segment`,
    )
  }
}

const noBytes = Buffer.alloc(0)
