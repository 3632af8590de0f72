/**
 * Verification of one segment file by itself: its header, every frame and batch, and its sidecar against them. Says the same as recovery
 * would, and changes nothing: a torn tail that recovery would cut is a note, what was proven durable and is not valid is damage.
 * A job and its verdict are plain values, so that another process can do it: segments do not depend on each other. What ties them together
 * (order, epochs, append times, versions) is looked at by verify-log.ts, from the verdicts.
 * Neighbours: segment-scan.ts and damage-search.ts read as recovery does; verify-sidecar.ts compares the sidecar.
 */
import type { Clock } from '../platform/clock.ts'
import type { File, FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { murmur2 } from '../protocol/murmur2.ts'
import { decompressedBytesMax, MiB } from '../protocol/limits.ts'
import { BATCH_HEADER_BYTES, batchBytes, codec, lastOffsetDelta, recordCount } from '../protocol/record-batch.ts'
import { batchFactsAt } from './batch-facts.ts'
import { BatchKeys, eachKey } from './batch-streams.ts'
import { searchBehindDamage } from './damage-search.ts'
import { EventSum, otherKeyHash, type SummedEvents } from './event-sum.ts'
import { RecentPostings } from './recent-postings.ts'
import { decodeSegmentHeader, FRAME_BYTES, type SegmentHeader, SEGMENT_HEADER_BYTES } from './segment-format.ts'
import { type ScannedFrame, scanSegment } from './segment-scan.ts'
import { Findings, type VerifyResult } from './verify-findings.ts'
import { SidecarCheck, spillPostings } from './verify-sidecar.ts'
import { isZero } from './zero-bytes.ts'

export interface SegmentJob {
  readonly path: string
  readonly topicId: string
  readonly partition: number
  readonly baseOffset: number
  /** Where the next segment begins; undefined for the last one. */
  readonly nextBase: number | undefined
  /** Of the log, in hex; empty when no header in it holds. */
  readonly salt: string
  /** Everything below it was durable when the recovery checkpoint was written; 0 when there is none of this log. */
  readonly durableOffset: number
  /** Of the batch before the segment; -1 where that is not known yet: verify-log.ts then compares what comes back. */
  readonly leaderEpoch: number
  /** Where to put the postings of a segment that has no sidecar; undefined = they are not wanted. */
  readonly spillPath: string | undefined
}

/** Where the events of each stream in a segment stand, in the order of the streams. */
export interface PostingsFile {
  readonly path: string
  /** `spill`: made by this verification; the versions in it say nothing. */
  readonly kind: 'sidecar' | 'spill'
}

export interface SegmentVerdict {
  readonly result: VerifyResult
  /** `skipped`: not a file of this log, or none yet; `broken`: something in it is lost. */
  readonly state: 'whole' | 'broken' | 'skipped'
  readonly nextOffset: number
  readonly leaderEpoch: number
  /** Of the first batch; undefined when there is none. */
  readonly firstLeaderEpoch: number | undefined
  readonly firstAppendTimeMs: number | undefined
  readonly lastAppendTimeMs: number
  /** Checksums in the footer: of itself, and of the sidecar before. Undefined without a footer to rely on. */
  readonly footer:
    | { readonly checksum: number; readonly previousChecksum: number; readonly compaction: number }
    | undefined
  readonly postings: PostingsFile | undefined
  /** `differs`: from the segment, and that was named. */
  readonly sidecar: 'none' | 'sound' | 'differs'
  /** What the events were gathered in: their sum is enough for a sidecar that is as it should be. */
  readonly events: 'sum' | 'table'
  /** Of every event of a whole segment; undefined of any other. */
  readonly sum: SummedEvents | undefined
}

export interface SegmentSeams {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  /** Called now and then with the bytes read since the last call. */
  readonly onBytes: (bytes: number) => void
}

interface OpenSegment {
  readonly file: File
  readonly sizeBytes: number
  readonly header: SegmentHeader | undefined
  readonly sidecar: SidecarCheck
  readonly events: RecentPostings | EventSum
}

export async function verifySegment(job: SegmentJob, seams: SegmentSeams): Promise<SegmentVerdict> {
  const verdict = await new SegmentVerification(job, seams, 'sum').run()
  if (verdict.sidecar !== 'differs' || verdict.events === 'table') return verdict
  // Once more, with what it takes to say where the sidecar differs.
  return await new SegmentVerification(job, { ...seams, onBytes: () => seams.onBytes(0) }, 'table').run()
}

class SegmentVerification {
  readonly #job: SegmentJob
  readonly #seams: SegmentSeams
  readonly #salt: Buffer
  readonly #findings = new Findings()
  #events: 'sum' | 'table'
  #sum: EventSum | undefined
  #sidecar: SegmentVerdict['sidecar'] = 'none'
  #nextOffset: number
  #leaderEpoch: number
  #firstLeaderEpoch: number | undefined
  #firstAppendTimeMs: number | undefined
  #lastAppendTimeMs = 0
  /** How far `onBytes` was told. */
  #toldPosition = 0

  /** `wanted`: `sum` = a table only where there is no sidecar to compare a sum with. */
  constructor(job: SegmentJob, seams: SegmentSeams, wanted: 'sum' | 'table') {
    this.#events = wanted
    this.#job = job
    this.#seams = seams
    this.#salt = Buffer.from(job.salt, 'hex')
    this.#nextOffset = job.baseOffset
    this.#leaderEpoch = job.leaderEpoch
  }

  async run(): Promise<SegmentVerdict> {
    const { path, baseOffset, nextBase } = this.#job
    const { fileSystem, clock } = this.#seams
    const findings = this.#findings
    const file = await fileSystem.open(path, 'read')
    const sidecar = await SidecarCheck.open({ fileSystem, segmentPath: path, findings, clock })
    try {
      const sizeBytes = await file.sizeBytes()
      const header = await segmentHeader(file, path)
      if (header === undefined && nextBase === undefined && (await isZero(file, 0, sizeBytes))) {
        findings.note(`${path}: was being made when the broker ended; the next start removes it`)
        return this.#verdict('skipped', sidecar, undefined)
      }
      if (header === undefined) findings.damaged(path, 0, 'found a header that does not hold', baseOffset)
      if (!this.#belongs(header)) return this.#verdict('skipped', sidecar, undefined)
      if (!sidecar.isMissing && sidecar.footer?.compaction !== (header?.compaction ?? sidecar.footer?.compaction)) {
        sidecar.setAside()
        findings.note(`${path}: was rewritten when the broker ended, its sidecar was not; the next start makes it`)
      }
      if ((sidecar.isMissing || this.#isReopened(sidecar)) && this.#job.spillPath !== undefined) this.#events = 'table'
      const events = this.#events === 'sum' ? new EventSum() : new RecentPostings(baseOffset)
      const verdict = await this.#read({ file, sizeBytes, header, sidecar, events })
      this.#tell(sizeBytes)
      return verdict
    } finally {
      await sidecar.close()
      await file.close()
    }
  }

  #belongs(header: SegmentHeader | undefined): boolean {
    const { path, topicId, partition, baseOffset } = this.#job
    if (this.#salt.length === 0) return false
    if (header === undefined) return true
    const headerTopicId = header.topicId.toString('hex')
    if (headerTopicId !== topicId || header.partition !== partition || header.baseOffset !== baseOffset) {
      const found = `topic ${headerTopicId}, partition ${header.partition}, offset ${header.baseOffset}`
      this.#findings.damaged(path, 0, `found the header of ${found}`, baseOffset)
      return false
    }
    if (header.salt.equals(this.#salt)) return true
    this.#findings.damaged(path, 0, 'found a segment of another log of the same name', baseOffset)
    return false
  }

  /** Reads frames from the header to the end, passing over what is damaged. */
  async #read(segment: OpenSegment): Promise<SegmentVerdict> {
    const { file, sizeBytes, sidecar, events } = segment
    const { path, baseOffset, nextBase } = this.#job
    const findings = this.#findings
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(header, 0)
    sidecar.header(header)
    let intact = segment.header !== undefined
    const isSparse = (segment.header?.compaction ?? sidecar.footer?.compaction ?? 0) > 0
    let place = { position: SEGMENT_HEADER_BYTES, nextOffset: baseOffset, leaderEpoch: this.#leaderEpoch }
    for (;;) {
      const { clock } = this.#seams
      const end = await scanSegment(
        { file, salt: this.#salt, from: place, endPosition: sizeBytes, sliceBytes, isSparse, clock },
        (frame) => this.#frame(segment, frame),
      )
      this.#nextOffset = end.nextOffset
      this.#leaderEpoch = end.leaderEpoch
      const resume = await this.#judge(segment, end.position, end.problem)
      if (resume === 'clean') break
      intact = false
      if (resume === 'lost') {
        this.#nextOffset = nextBase ?? this.#nextOffset
        break
      }
      place = { ...resume, leaderEpoch: end.leaderEpoch }
    }
    if (!sidecar.found && nextBase !== undefined) findings.note(`${path}: has no sidecar; the next start makes it`)
    findings.segments++
    findings.bytes += sizeBytes
    if (!intact) return this.#verdict('broken', sidecar, undefined)
    const { topicId, partition } = this.#job
    const expected = { topicId, partition, baseOffset, nextOffset: this.#nextOffset, sizeBytes }
    this.#sum = events instanceof EventSum ? events : sumOf(events)
    if (this.#isReopened(sidecar)) {
      findings.note(`${path}: is taken up again after it was sealed; its sidecar is made anew with the next seal`)
    } else if (await sidecar.finish(expected, events)) {
      this.#sidecar = 'sound'
      return this.#verdict('whole', sidecar, sidecar.path)
    } else if (!sidecar.isMissing) this.#sidecar = 'differs'
    const { spillPath } = this.#job
    const spills = spillPath !== undefined && events instanceof RecentPostings
    if (spills) await spillPostings(this.#seams, spillPath, events)
    return this.#verdict('whole', sidecar, spills ? spillPath : undefined)
  }

  /** Its sidecar was made when a next segment had been begun, which a power cut or the start after it took away again. */
  #isReopened(sidecar: SidecarCheck): boolean {
    return this.#job.nextBase === undefined && !sidecar.isMissing
  }

  #verdict(
    state: SegmentVerdict['state'],
    { footer, path: sidecarPath }: SidecarCheck,
    postingsPath: string | undefined,
  ): SegmentVerdict {
    const kind = postingsPath === sidecarPath ? 'sidecar' : 'spill'
    return {
      result: this.#findings.result(),
      state,
      nextOffset: this.#nextOffset,
      leaderEpoch: this.#leaderEpoch,
      firstLeaderEpoch: this.#firstLeaderEpoch,
      firstAppendTimeMs: this.#firstAppendTimeMs,
      lastAppendTimeMs: this.#lastAppendTimeMs,
      footer: footer && {
        checksum: footer.checksum,
        previousChecksum: footer.previousChecksum,
        compaction: footer.compaction,
      },
      postings: postingsPath === undefined ? undefined : { path: postingsPath, kind },
      sidecar: this.#sidecar,
      events: this.#events,
      sum: this.#sum && { events: this.#sum.events, first: this.#sum.first, second: this.#sum.second },
    }
  }

  #frame({ sidecar, events }: OpenSegment, frame: ScannedFrame): Promise<void> | undefined {
    const { path } = this.#job
    const { position, bytes, batchStart, batchEnd, appendTimeMs } = frame
    if (position - this.#toldPosition >= toldBytes) this.#tell(position)
    if (batchEnd === batchStart) {
      // A frame without a batch has no time of its own: it repeats that of the last batch in its file, 0 when there is none.
      this.#lastAppendTimeMs = Math.max(this.#lastAppendTimeMs, appendTimeMs)
      sidecar.floorFrame(bytes.subarray(batchStart - FRAME_BYTES, batchStart))
      return undefined
    }
    const facts = batchFactsAt(bytes, batchStart)
    const frameOffset = facts.baseOffset
    this.#firstLeaderEpoch ??= facts.leaderEpoch
    this.#firstAppendTimeMs ??= appendTimeMs
    if (frame.floor > frameOffset) {
      const found = `found a frame that calls offset ${frame.floor} durable before it was written`
      this.#findings.damaged(path, position, found, frameOffset)
    }
    if (appendTimeMs < this.#lastAppendTimeMs) {
      const found = `found append time ${appendTimeMs} after ${this.#lastAppendTimeMs}`
      this.#findings.damaged(path, position, found, frameOffset)
    }
    this.#lastAppendTimeMs = Math.max(this.#lastAppendTimeMs, appendTimeMs)
    sidecar.batchFrame(bytes, batchStart, batchEnd, facts, position, appendTimeMs)
    this.#findings.batches++
    this.#findings.records += facts.recordCount
    const fault = (error: unknown): undefined => {
      if (!(error instanceof PlayheadError)) throw error
      this.#findings.damaged(path, position, error.message, frameOffset)
    }
    try {
      return addKeys(bytes, batchStart, events)?.catch(fault)
    } catch (error) {
      return fault(error)
    }
  }

  #tell(position: number): void {
    if (position > this.#toldPosition) this.#seams.onBytes(position - this.#toldPosition)
    this.#toldPosition = Math.max(position, this.#toldPosition)
  }

  /** What the place is where a scan ended: nothing behind it that ever counted, records lost to the end, or where to read on. */
  async #judge(
    { file, sizeBytes, sidecar }: OpenSegment,
    position: number,
    problem: string | undefined,
  ): Promise<'clean' | 'lost' | { position: number; nextOffset: number }> {
    const { path, nextBase, durableOffset } = this.#job
    const offset = this.#nextOffset
    if (problem === undefined && sidecar.footer?.nextOffset === offset) return 'clean' // if the next one begins later, a file is missing
    const search = {
      file,
      salt: this.#salt,
      position,
      endPosition: sizeBytes,
      offsetMin: offset,
      offsetEnd: nextBase ?? Infinity,
    }
    const behind = problem === undefined ? { floor: -1, batch: undefined } : await searchBehindDamage(search)
    const { batch } = behind
    const proven = nextBase ?? Math.max(behind.floor, durableOffset)
    const isWhole = batch?.baseOffset === offset
    if (proven <= offset && !isWhole) {
      if (problem !== undefined && sidecar.footer?.nextOffset === offset) {
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
}

function sumOf(postings: RecentPostings): EventSum {
  const sum = new EventSum()
  for (let slot = 0; slot < postings.streams; slot++) {
    const key = postings.keys.key(slot)
    const [hash, otherHash] = [murmur2(key), otherKeyHash(key, 0, key.length)]
    postings.eachOffset(slot, (offset) => sum.add(hash, otherHash, offset))
  }
  return sum
}

/** The header of the segment in `file`; undefined when it does not hold. */
export async function segmentHeader(file: File, path: string): Promise<SegmentHeader | undefined> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  await file.read(bytes, 0)
  return decodeSegmentHeader(bytes, path)
}

/** Read at once: so little that it is still in the processor's cache when it is looked at. */
const sliceBytes = MiB
/** Progress is told in steps of this. */
const toldBytes = 4 * MiB

/** Puts every record with a key of the valid batch at `at` into `events`; waits only if it is compressed. */
function addKeys(bytes: Buffer, at: number, events: RecentPostings | EventSum): Promise<void> | undefined {
  if (events instanceof EventSum) {
    return eachKey(bytes, at, decompressedBytesMax, (records, from, to, hash, offset) => {
      events.add(hash, otherKeyHash(records, from, to), offset)
    })
  }
  const count = recordCount(bytes, at)
  if (codec(bytes, at) !== 'none' || lastOffsetDelta(bytes, at) !== count - 1) {
    return eachKey(bytes, at, decompressedBytesMax, (records, from, to, hash, offset) => {
      events.add(records, from, to, hash, offset)
    })
  }
  // The usual batch, without gaps: first all keys, so that the table's memory is fetched for many of them at once.
  const records = bytes.subarray(at + BATCH_HEADER_BYTES, at + batchBytes(bytes, at))
  events.addBatch(BatchKeys.of(records, 0, count), batchFactsAt(bytes, at).baseOffset)
  return undefined
}
