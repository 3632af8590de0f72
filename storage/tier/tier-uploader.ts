/**
 * TierUploader: brings one log into the tier, segment by segment: sealed -> sent and read back -> in the manifest -> let go locally, as far as the
 * topic's local.retention says. Also what stands beside the segments (small files of facts).
 * Invariants: a file on the local disk is removed only when the manifest, on the local disk too, names an object that was read back whole; what is
 * damaged is never sent and never let go; being killed at any line leaves the local file or the object, and at most objects that nobody names.
 * Neighbours: Tier calls `work` now and then; segment-upload.ts sends, TierLog keeps the manifest.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { Log } from '../log.ts'
import type { Footer } from '../sidecar-format.ts'
import type { Topic } from '../topic.ts'
import type { TopicSettings } from '../topic-settings.ts'
import { FactUpload } from './fact-upload.ts'
import { LocalSegments } from './local-segments.ts'
import { sendSegment } from './segment-upload.ts'
import type { UploadContext } from './segment-upload.ts'
import type { TierLog } from './tier-log.ts'
import type { TierWriter } from './tier-manifest.ts'

export interface UploaderContext extends UploadContext {
  /** The local disk alone. */
  readonly fileSystem: FileSystem
  readonly writer: TierWriter
  readonly report: (level: 'info' | 'warn', message: string) => void
}

export interface UploaderStats {
  sentSegments: number
  sentBytes: number
  letGoSegments: number
}

/** Between two looks at the files of a log that has no new segment: some may have been rewritten, or have grown old. */
const quietLookMs = 60_000

export class TierUploader {
  readonly topic: Topic
  readonly log: Log
  readonly tierLog: TierLog
  readonly #context: UploaderContext
  readonly #stats: UploaderStats
  /** Where the newest segment began when all before it was sent; undefined = not all is. */
  #doneAt: number | undefined
  #lookedMs = -Infinity
  /** As of the last look. */
  #settings: TopicSettings | undefined
  readonly #local: LocalSegments
  readonly #facts: FactUpload
  /** Damaged on the local disk, with the checksums of their footers: named once, and not looked at again while they stay as they are. */
  readonly #unsendable = new Map<number, number>()
  #localBytes = 0
  #unsentBytes = 0

  constructor(context: UploaderContext, stats: UploaderStats, topic: Topic, log: Log, tierLog: TierLog) {
    this.#context = context
    this.#stats = stats
    this.topic = topic
    this.log = log
    this.tierLog = tierLog
    this.#local = new LocalSegments(context.fileSystem, `${topic.directory}/${log.partition}`)
    this.#facts = new FactUpload(context.fileSystem, context.store)
  }

  /** As of the last look. */
  get localBytes(): number {
    return this.#localBytes
  }

  /** Of sealed segments that the tier does not have, as of the last look. */
  get unsentBytes(): number {
    return this.#unsentBytes
  }

  /** Whether everything that was ever appended is in the tier. */
  get isComplete(): boolean {
    return this.log.files.activeSinceMs === undefined && this.#doneAt === this.log.files.newestBaseOffset
  }

  /** Sends what is sealed, lets go what may go. `rollBeforeMs`: an active segment begun before is sealed first. Throws as sendSegment does, and tierFenced. */
  async work(rollBeforeMs: number): Promise<void> {
    const { settings } = this.topic
    const { isTiered } = settings
    if (isTiered && (this.log.files.activeSinceMs ?? Infinity) <= rollBeforeMs) await this.log.files.roll()
    const { newestBaseOffset } = this.log.files
    if (!this.#isDue(newestBaseOffset)) return
    if (isTiered) this.#doneAt = (await this.#send()) === 0 ? newestBaseOffset : undefined
    await this.#facts.send(this.tierLog, this.#local)
    if (this.tierLog.hasRemoved) await this.tierLog.change({}, this.#context.writer)
    await this.#letGo()
    this.#lookedMs = this.#context.clock.monotonicMs()
    this.#settings = settings
  }

  /** A log in which nothing happens is looked at now and then only: a broker may have hundreds. */
  #isDue(newestBaseOffset: number): boolean {
    if (this.#doneAt !== newestBaseOffset || this.tierLog.isBehind || this.#settings !== this.topic.settings)
      return true
    return this.#context.clock.monotonicMs() - this.#lookedMs >= quietLookMs
  }

  /** Answers how many of the sealed segments are not ready to be sent. */
  async #send(): Promise<number> {
    const bases = await this.#local.bases()
    let notReady = 0
    let unsentBytes = 0
    const unsent: { readonly baseOffset: number; readonly footer: Footer }[] = []
    for (const baseOffset of bases.slice(0, -1)) {
      const held = this.tierLog.segment(baseOffset)
      const footer = await this.#local.footer(baseOffset)
      if (footer !== undefined && this.#unsendable.get(baseOffset) === footer.checksum) continue
      // One that was rewritten is sent again, in place of the one that the tier has.
      if (held !== undefined && (footer === undefined || footer.checksum === held.footer.checksum)) continue
      if (footer === undefined) notReady++
      else unsent.push({ baseOffset, footer })
    }
    for (const { footer } of unsent) unsentBytes += footer.segmentBytes
    this.#unsentBytes = unsentBytes
    for (const { baseOffset, footer } of unsent) {
      this.#context.signal.throwIfAborted()
      if (!(await this.#sendOne(baseOffset, footer))) notReady++
    }
    return notReady
  }

  async #sendOne(baseOffset: number, footer: Footer): Promise<boolean> {
    try {
      const segment = await sendSegment(this.#context, this.tierLog, this.#local.directory, baseOffset)
      // It may have been rewritten meanwhile, or the log may begin behind it: then the objects are nobody's.
      if ((await this.#local.footer(baseOffset))?.checksum !== segment.footer.checksum) return false
      await this.tierLog.change({ add: [segment], logEndOffset: this.log.logEndOffset }, this.#context.writer)
    } catch (error) {
      if (!isPlayheadError(error, 'damagedData')) throw error
      this.#unsendable.set(baseOffset, footer.checksum)
      this.#context.report('warn', `${this.log.name}: ${error.message}`)
      return true
    }
    this.#stats.sentSegments++
    this.#stats.sentBytes += footer.segmentBytes + footer.bodyBytes
    this.#unsentBytes -= footer.segmentBytes
    return true
  }

  /** Removes local files of the oldest segments while they are too many bytes, or too old, and the tier has them. */
  async #letGo(): Promise<void> {
    const { localRetentionBytes, localRetentionMs } = this.topic.settings
    const { clock } = this.#context
    const bases = await this.#local.bases()
    const sizes = new Map<number, number>()
    let localBytes = 0
    for (const base of bases) {
      const sizeBytes = await this.#local.sizeBytes(base)
      sizes.set(base, sizeBytes)
      localBytes += sizeBytes
    }
    for (const baseOffset of bases.slice(0, -1)) {
      const held = this.tierLog.segment(baseOffset)
      if (held === undefined && baseOffset < this.tierLog.endOffset) continue // damaged: it stays
      if (held === undefined) break // the oldest first
      const isOld = clock.now() - held.footer.lastAppendTimeMs > localRetentionMs
      if (localBytes <= localRetentionBytes && !isOld) break
      if (!(await this.log.files.alone(() => this.#letGoOf(baseOffset)))) break
      localBytes -= sizes.get(baseOffset) ?? 0
    }
    this.#localBytes = localBytes
  }

  /** False when what is here is not what the tier has: it was rewritten, or its sidecar is on its way; then it is sent again first. */
  async #letGoOf(baseOffset: number): Promise<boolean> {
    const held = this.tierLog.segment(baseOffset)
    const local = await this.#local.footer(baseOffset)
    if (held === undefined || local?.checksum !== held.footer.checksum) return false
    await this.#local.remove(baseOffset, { sidecarFirst: false })
    this.log.files.openAgain(baseOffset)
    this.#stats.letGoSegments++
    return true
  }
}
