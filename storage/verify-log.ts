/**
 * Verification of one log: every segment header, frame and batch, and that they continue each other. Says the same as recovery would, and
 * changes nothing: a torn tail that recovery would cut is a note, what was proven durable and is not valid is damage.
 * Neighbours: verify.ts calls it per log; segment-scan.ts and damage-search.ts read as recovery does.
 */
import type { Clock } from '../platform/clock.ts'
import type { File, FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { decompressedBytesMax, MiB } from '../protocol/limits.ts'
import { batchFactsAt } from './batch-facts.ts'
import { eachStream } from './batch-streams.ts'
import { searchBehindDamage } from './damage-search.ts'
import { RecentPostings } from './recent-postings.ts'
import {
  baseOffsetOfFile,
  decodeSegmentHeader,
  FRAME_BYTES,
  type SegmentHeader,
  segmentFileName,
  SEGMENT_HEADER_BYTES,
} from './segment-format.ts'
import { type ScannedFrame, scanSegment } from './segment-scan.ts'
import { temporarySuffix } from './small-file.ts'
import type { CacheCopy, LogCacheCheck } from './verify-cache.ts'
import type { Findings } from './verify-findings.ts'
import { SidecarCheck } from './verify-sidecar.ts'
import { StreamLedger } from './verify-streams.ts'

export interface VerifyLogOptions {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly directory: string
  /** topic/partition, for messages. */
  readonly name: string
  readonly topicId: Buffer
  readonly partition: number
  readonly cache: CacheCopy | undefined
  readonly findings: Findings
}

interface OpenSegment {
  readonly path: string
  readonly file: File
  readonly sizeBytes: number
  readonly header: SegmentHeader | undefined
  readonly baseOffset: number
  /** Where the next segment begins; undefined for the last one. */
  readonly nextBase: number | undefined
  readonly sidecar: SidecarCheck
  readonly postings: RecentPostings
}

export async function verifyLog(options: VerifyLogOptions): Promise<void> {
  options.findings.partitions++
  await new LogVerification(options).run()
}

class LogVerification {
  readonly #options: VerifyLogOptions
  readonly #findings: Findings
  readonly #streams: StreamLedger
  readonly #cache: LogCacheCheck | undefined
  #salt: Buffer | undefined
  #nextOffset = -1
  #leaderEpoch = -1
  #lastAppendTimeMs = 0
  /** Of the sidecar before; undefined when there was none to rely on. */
  #previousChecksum: number | undefined = 0
  /** Whether every record so far was read, so that versions can be counted. */
  #whole = true

  constructor(options: VerifyLogOptions) {
    this.#options = options
    this.#findings = options.findings
    this.#streams = new StreamLedger()
    this.#cache = options.cache?.log(options.topicId, options.partition)
  }

  async run(): Promise<void> {
    const { fileSystem, directory } = this.#options
    const names = await fileSystem.list(directory)
    const bases = names.map(baseOffsetOfFile).filter((base) => base !== undefined)
    for (const name of names) this.#look(name, bases)
    await this.#findSalt(bases)
    for (const [place, base] of bases.entries()) await this.#segment(base, bases[place + 1])
    const end = Math.max(0, this.#nextOffset)
    if (this.#cache !== undefined) await this.#findings.guard(this.#cache.file, () => this.#finishCache(end))
  }

  /** The log's salt, from the first header that holds. */
  async #findSalt(bases: readonly number[]): Promise<void> {
    for (const base of bases) {
      const path = `${this.#options.directory}/${segmentFileName(base)}`
      const file = await this.#options.fileSystem.open(path, 'read')
      try {
        this.#salt = (await this.#header(file, path))?.salt
      } finally {
        await file.close()
      }
      if (this.#salt !== undefined) return
    }
  }

  /** Says what a name in the directory is when it is not a segment. */
  #look(name: string, bases: readonly number[]): void {
    const path = `${this.#options.directory}/${name}`
    if (baseOffsetOfFile(name) !== undefined) return
    if (name.endsWith(temporarySuffix)) return this.#findings.note(`${path}: half made; the next start removes it`)
    const segment = name.endsWith('.idx') ? baseOffsetOfFile(name.replace(/\.idx$/, '.log')) : undefined
    if (segment === undefined) return this.#findings.note(`${path}: not a file of Playhead`)
    if (!bases.includes(segment)) {
      this.#findings.damaged(
        path,
        0,
        `found a sidecar, wanted its segment ${segmentFileName(segment)} beside it`,
        segment,
      )
    }
  }

  async #segment(baseOffset: number, nextBase: number | undefined): Promise<void> {
    const { fileSystem, directory, findings } = this.#options
    const path = `${directory}/${segmentFileName(baseOffset)}`
    const file = await fileSystem.open(path, 'read')
    const sidecar = await SidecarCheck.open({ fileSystem, segmentPath: path, findings, clock: this.#options.clock })
    try {
      const sizeBytes = await file.sizeBytes()
      const header = await this.#header(file, path)
      if (header === undefined && nextBase === undefined && (await isZero(file, 0, sizeBytes))) {
        return findings.note(`${path}: was being made when the broker ended; the next start removes it`)
      }
      if (header === undefined) findings.damaged(path, 0, 'found a header that does not hold', baseOffset)
      this.#checkOrder(path, baseOffset)
      if (!this.#belongs(path, baseOffset, header)) return this.#skip(nextBase)
      const postings = new RecentPostings(baseOffset)
      await this.#read({ path, file, sizeBytes, header, baseOffset, nextBase, sidecar, postings })
      findings.segments++
      findings.bytes += sizeBytes
      findings.segmentDone()
    } finally {
      await sidecar.close()
      await file.close()
    }
  }

  async #header(file: File, path: string): Promise<SegmentHeader | undefined> {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(bytes, 0)
    return decodeSegmentHeader(bytes, path)
  }

  #checkOrder(path: string, baseOffset: number): void {
    if (this.#nextOffset >= 0 && baseOffset > this.#nextOffset) {
      const reason = `found no segment with offsets ${this.#nextOffset} to ${baseOffset - 1}, wanted one before this`
      this.#findings.damaged(path, 0, reason, this.#nextOffset)
      this.#whole = false
      this.#previousChecksum = undefined
    } else if (this.#nextOffset > baseOffset) {
      this.#findings.damaged(
        path,
        0,
        `found a segment from offset ${baseOffset}, wanted ${this.#nextOffset}`,
        baseOffset,
      )
      this.#whole = false
    }
    this.#nextOffset = baseOffset
  }

  #belongs(path: string, baseOffset: number, header: SegmentHeader | undefined): boolean {
    const { topicId, partition } = this.#options
    if (this.#salt === undefined) return false
    if (header === undefined) return true
    if (!header.topicId.equals(topicId) || header.partition !== partition || header.baseOffset !== baseOffset) {
      const found = `topic ${header.topicId.toString('hex')}, partition ${header.partition}, offset ${header.baseOffset}`
      this.#findings.damaged(path, 0, `found the header of ${found}`, baseOffset)
      return false
    }
    if (header.salt.equals(this.#salt)) return true
    this.#findings.damaged(path, 0, 'found a segment of another log of the same name', baseOffset)
    return false
  }

  #skip(nextBase: number | undefined): void {
    this.#whole = false
    this.#previousChecksum = undefined
    if (nextBase !== undefined) this.#nextOffset = nextBase
  }

  /** Reads frames from the header to the end, passing over what is damaged. */
  async #read(segment: OpenSegment): Promise<void> {
    const { path, file, sizeBytes, baseOffset, nextBase, sidecar } = segment
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(header, 0)
    sidecar.header(header)
    let intact = segment.header !== undefined
    let place = { position: SEGMENT_HEADER_BYTES, nextOffset: baseOffset, leaderEpoch: this.#leaderEpoch }
    for (;;) {
      const { clock } = this.#options
      const end = await scanSegment({ file, salt: this.#salt!, from: place, endPosition: sizeBytes, clock }, (frame) =>
        this.#frame(segment, frame),
      )
      this.#nextOffset = end.nextOffset
      this.#leaderEpoch = end.leaderEpoch
      const resume = await this.#judge(segment, end.position, end.problem)
      if (resume === 'clean') break
      intact = false
      this.#whole = false
      if (resume === 'lost') {
        this.#nextOffset = nextBase ?? this.#nextOffset
        break
      }
      place = { ...resume, leaderEpoch: end.leaderEpoch }
    }
    const expected = {
      topicId: this.#options.topicId,
      partition: this.#options.partition,
      nextOffset: this.#nextOffset,
    }
    const previousChecksum = this.#previousChecksum
    this.#previousChecksum = sidecar.checksum
    if (!sidecar.found && nextBase !== undefined)
      this.#findings.note(`${path}: has no sidecar; the next start makes it`)
    if (nextBase === undefined && sidecar.found && sidecar.nextOffset !== undefined) {
      // It was made when a next segment had been begun, which a power cut or the start after it took away again.
      return this.#findings.note(
        `${path}: is taken up again after it was sealed; its sidecar is made anew with the next seal`,
      )
    }
    if (!intact) return
    const versionBefore = (stream: string) => (this.#whole ? this.#streams.before(stream, segment.postings) : -1)
    await sidecar.finish({ ...expected, sizeBytes, baseOffset, previousChecksum }, segment.postings, versionBefore)
  }

  #frame(segment: OpenSegment, frame: ScannedFrame): Promise<void> | undefined {
    const { path, sidecar, postings } = segment
    const { position, bytes, batchStart, batchEnd, appendTimeMs } = frame
    const frameOffset = batchEnd > batchStart ? batchFactsAt(bytes, batchStart).baseOffset : undefined
    if (frameOffset !== undefined && frame.floor > frameOffset) {
      this.#findings.damaged(
        path,
        position,
        `found a frame that calls offset ${frame.floor} durable before it was written`,
        frameOffset,
      )
    }
    // A frame without a batch has no time of its own: it repeats that of the last batch in its file, 0 when there is none.
    if (frameOffset !== undefined && appendTimeMs < this.#lastAppendTimeMs) {
      this.#findings.damaged(
        path,
        position,
        `found append time ${appendTimeMs} after ${this.#lastAppendTimeMs}`,
        frameOffset,
      )
    }
    this.#lastAppendTimeMs = Math.max(this.#lastAppendTimeMs, appendTimeMs)
    sidecar.frame(bytes.subarray(batchStart - FRAME_BYTES, batchEnd), position, appendTimeMs)
    if (frameOffset === undefined) return undefined
    const facts = batchFactsAt(bytes, batchStart)
    this.#findings.batches++
    this.#findings.records += facts.recordCount
    const fault = (error: unknown): undefined => {
      if (!(error instanceof PlayheadError)) throw error
      this.#findings.damaged(path, position, error.message, frameOffset)
    }
    try {
      const visit = (stream: string, offset: number) => {
        postings.addStream(stream, offset)
        this.#cache?.event(this.#streams.add(stream), stream, offset)
      }
      return eachStream(bytes, batchStart, decompressedBytesMax, visit)?.catch(fault)
    } catch (error) {
      return fault(error)
    }
  }

  /** What the place is where a scan ended: nothing behind it that ever counted, records lost to the end, or where to read on. */
  async #judge(
    { path, file, sizeBytes, nextBase, sidecar }: OpenSegment,
    position: number,
    problem: string | undefined,
  ): Promise<'clean' | 'lost' | { position: number; nextOffset: number }> {
    const offset = this.#nextOffset
    if (problem === undefined && sidecar.nextOffset === offset) return 'clean' // if the next one begins later, a file is missing
    const search = {
      file,
      salt: this.#salt!,
      position,
      endPosition: sizeBytes,
      offsetMin: offset,
      offsetEnd: nextBase ?? Infinity,
    }
    const behind = problem === undefined ? { floor: -1, batch: undefined } : await searchBehindDamage(search)
    const { batch } = behind
    const proven = nextBase ?? Math.max(behind.floor, this.#cache?.durableOffset(this.#salt!) ?? 0)
    const isWhole = batch?.baseOffset === offset
    if (proven <= offset && !isWhole) {
      if (problem !== undefined && sidecar.nextOffset === offset) {
        this.#findings.damaged(path, position, `found ${problem} behind the last batch, wanted what the sidecar knows`)
        return 'lost'
      }
      if (problem !== undefined && !(await isZero(file, position, sizeBytes))) {
        this.#findings.note(
          `${path}: at byte ${position}, after offset ${offset - 1}: a torn write that never counted; the next start cuts it`,
        )
      }
      return 'clean'
    }
    const wanted = isWhole ? 'a frame that says what is durable' : `the batch with offset ${offset}`
    this.#findings.damaged(path, position, `found ${problem ?? 'the end of the file'}, wanted ${wanted}`, offset)
    return batch !== undefined && (isWhole || batch.baseOffset <= proven)
      ? { position: batch.position, nextOffset: batch.baseOffset }
      : 'lost'
  }

  async #finishCache(end: number): Promise<void> {
    if (!this.#whole)
      return this.#findings.note(`${this.#options.name}: has damage, so its part of the cache was not compared`)
    await this.#cache?.finish(this.#streams, end)
  }
}

async function isZero(file: File, from: number, to: number): Promise<boolean> {
  const slice = Buffer.allocUnsafeSlow(MiB)
  for (let at = from; at < to; at += slice.length) {
    const count = await file.read(slice.subarray(0, Math.min(slice.length, to - at)), at)
    for (let place = 0; place < count; place++) if (slice[place] !== 0) return false
  }
  return true
}
