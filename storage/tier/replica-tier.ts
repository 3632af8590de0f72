/**
 * ReplicaTier: one log of a cluster's broker and the tier that all brokers share. While this broker leads the log it sends what is sealed and committed;
 * as long as it has a replica it lets go of its own files, as the topic's local.retention says, once a manifest names the same segment, whoever sent it.
 * Invariants: nothing is sent in a leader epoch before the newest manifest was read in it; what a manifest names stays as it is until the log begins
 * behind it, and what lies across it is not sent; a file is removed only below the high watermark, when a manifest on this disk names a segment with the
 * same records. Being killed, or deposed, at any line leaves at most objects that nobody names.
 * Neighbours: Tier calls `work` now and then; segment-upload.ts sends, TierLog keeps the manifest; a broker by itself has TierUploader instead.
 */
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import type { Log } from '../log.ts'
import type { Footer } from '../sidecar-format.ts'
import type { Topic } from '../topic.ts'
import type { TopicSettings } from '../topic-settings.ts'
import { FactUpload } from './fact-upload.ts'
import { LocalSegments } from './local-segments.ts'
import { sendSegment } from './segment-upload.ts'
import type { UploadContext } from './segment-upload.ts'
import type { ManifestStore } from './manifest-store.ts'
import type { TierLog } from './tier-log.ts'
import type { TierManifest, TierSegment, TierWriter } from './tier-manifest.ts'
import type { TierRole } from './tier-sharing.ts'
import { saltOf } from './tier-sight.ts'
import type { UploaderStats } from './tier-uploader.ts'

export interface ReplicaTierContext extends UploadContext {
  readonly manifests: ManifestStore
  readonly writer: Omit<TierWriter, 'epoch'>
  readonly role: () => TierRole | undefined
  /** Between two looks for a newer manifest; longer, the longer there is none. */
  readonly lookMs: number
  readonly report: (level: 'info' | 'warn', message: string) => void
  /** For what has to be cut otherwise before it is sent; nobody else's. */
  readonly scratchDirectory: string
}

/** Between two looks at the files of a log in which nothing happens, and at most between two looks for a newer manifest. */
const quietLookMs = 60_000

/** What the tier lacks. */
interface OffsetGap {
  readonly baseOffset: number
  readonly nextOffset: number
}

/** A sealed segment that is here. */
interface LocalSegment {
  readonly baseOffset: number
  readonly footer: Footer
}

export class ReplicaTier {
  readonly topic: Topic
  readonly log: Log
  readonly tierLog: TierLog
  readonly #context: ReplicaTierContext
  readonly #stats: UploaderStats
  readonly #local: LocalSegments
  #facts: FactUpload
  /** The leader epoch in which the newest manifest was read. */
  #adoptedIn = -1
  /** Nothing is sent in this epoch any more: somebody newer has written, or the tier has another history. */
  #endedIn = -1
  #problem: PlayheadError | undefined
  /** Of the last look that left nothing to be sent: the epoch, and where the newest segment began. */
  #sentUpTo = ''
  #sentMs = -Infinity
  /** Where the newest segment began when the last look left nothing to let go of. */
  #tidyAt: number | undefined
  #tidiedMs = -Infinity
  /** As of the last look. */
  #settings: TopicSettings | undefined
  #newsNotBeforeMs = -Infinity
  #newsPauseMs = 0
  /** Damaged here, with the checksums of their footers. */
  readonly #unsendable = new Map<number, number>()
  #localBytes = 0
  #unsentBytes = 0

  constructor(context: ReplicaTierContext, stats: UploaderStats, topic: Topic, log: Log, tierLog: TierLog) {
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

  /** Of sealed segments that this broker, as their leader, has to send yet; as of the last look. */
  get unsentBytes(): number {
    return this.#unsentBytes
  }

  /** Why nothing is sent while this broker leads, if that is for an operator to know. */
  get problem(): PlayheadError | undefined {
    return this.#problem
  }

  /** Throws as sendSegment does; tierFenced only when the tier itself is somebody else's. */
  async work(rollBeforeMs: number): Promise<void> {
    try {
      await this.#work(rollBeforeMs)
    } catch (error) {
      if (!isPlayheadError(error, 'stopping')) throw error // the log was cut back, and the next look finds another one
    }
  }

  async #work(rollBeforeMs: number): Promise<void> {
    const { settings } = this.topic
    const isChanged = settings !== this.#settings
    const epoch = this.#context.role()?.leaderEpoch
    if (epoch === undefined) this.#unsentBytes = 0
    if (epoch !== this.#endedIn) this.#problem = undefined
    this.#keepAsItIs(isChanged)
    if (epoch !== undefined && epoch !== this.#endedIn) await this.#lead(epoch, rollBeforeMs)
    await this.#tidy(isChanged)
    this.#settings = settings
  }

  /** What one replica has rewritten no other has, and the tier neither. */
  #keepAsItIs(isChanged: boolean): void {
    const { settings, internal } = this.topic
    this.log.compaction.isHeld = settings.isTiered
    if (isChanged && settings.isTiered && settings.cleanup.compacts && !internal)
      this.#context.report(
        'warn',
        `${this.log.name}: found cleanup.policy with compact and remote.storage.enable=true in a cluster, wanted one of them: it is neither compacted nor let go from the local disk; set remote.storage.enable to false, or cleanup.policy to delete`,
      )
  }

  /** Whether this broker leads in `epoch`, as of now. */
  #leadsIn(epoch: number): boolean {
    return this.#context.role()?.leaderEpoch === epoch
  }

  async #lead(epoch: number, rollBeforeMs: number): Promise<void> {
    const { files } = this.log
    if (this.topic.settings.isTiered && (files.activeSinceMs ?? Infinity) <= rollBeforeMs) await files.roll()
    const place = `${epoch}/${files.newestBaseOffset}`
    const isQuiet = this.#context.clock.monotonicMs() - this.#sentMs < quietLookMs
    if (this.#sentUpTo === place && isQuiet && !this.#hasGivenUp) return
    try {
      const isAll = await this.#send(epoch)
      this.#sentUpTo = isAll ? place : ''
      this.#sentMs = this.#context.clock.monotonicMs()
    } catch (error) {
      if (!isPlayheadError(error, 'tierFenced') || error.details['owner'] !== this.#context.writer.owner) throw error
      this.#end(epoch, error)
    }
  }

  /** For this log, until it leads in a newer epoch. Whoever wrote meanwhile leads now: nothing is wrong with that. */
  #end(epoch: number, error: PlayheadError): void {
    this.#endedIn = epoch
    this.#unsentBytes = 0
    this.#context.report('info', `${this.log.name}: sends nothing in leader epoch ${epoch} any more: ${error.message}`)
  }

  /** Whether the manifest names what the log has given up. */
  get #hasGivenUp(): boolean {
    return (this.tierLog.named[0]?.footer.nextOffset ?? Infinity) <= this.log.logStartOffset
  }

  /** Answers whether all that is sealed has been sent. */
  async #send(epoch: number): Promise<boolean> {
    if ((await this.#unsent()).segments.length > 0 || this.#hasGivenUp) {
      if (!(await this.#adopt(epoch))) return true
    }
    const { segments, isAll } = await this.#unsent()
    this.#unsentBytes = 0
    for (const { footer } of segments) this.#unsentBytes += footer.segmentBytes
    let isSent = isAll
    for (const segment of segments) {
      this.#context.signal.throwIfAborted()
      if (!this.#leadsIn(epoch)) return false
      isSent = (await this.#sendOne(epoch, segment)) && isSent
    }
    if (!this.#leadsIn(epoch)) return false
    if (this.tierLog.named.length > 0 && this.#adoptedIn === epoch) await this.#facts.send(this.tierLog, this.#local)
    if (this.#hasGivenUp) await this.#dropGivenUp(epoch)
    return isSent
  }

  /** Committed segments of which the manifest that is known here names nothing, or not all; `isAll`: there are no others that are sealed. */
  async #unsent(): Promise<{ segments: LocalSegment[]; isAll: boolean }> {
    const highWatermark = this.#context.role()?.highWatermark ?? 0
    const segments: LocalSegment[] = []
    if (!this.topic.settings.isTiered) return { segments, isAll: true }
    let isAll = true
    for (const baseOffset of (await this.#local.bases()).slice(0, -1)) {
      const footer = await this.#local.footer(baseOffset)
      if (footer !== undefined && this.#unsendable.get(baseOffset) === footer.checksum) continue
      if (footer === undefined || footer.nextOffset > highWatermark) isAll = false
      else if (footer.nextOffset > this.log.logStartOffset && !this.#isNamed(footer))
        segments.push({ baseOffset, footer })
    }
    return { segments, isAll }
  }

  /** Whether all of its offsets are in the tier, in whatever segments. */
  #isNamed(footer: Footer): boolean {
    return this.#gapIn(footer) === undefined
  }

  /** The first offsets of a segment that the tier does not have, and that the log has not given up. */
  #gapIn({ baseOffset, nextOffset }: Footer): OffsetGap | undefined {
    let offset = baseOffset
    for (const { footer } of this.tierLog.named) {
      const gapEnd = Math.min(footer.baseOffset, nextOffset)
      if (gapEnd > offset && gapEnd > this.log.logStartOffset) return { baseOffset: offset, nextOffset: gapEnd }
      offset = Math.max(offset, footer.nextOffset)
    }
    return offset < nextOffset ? { baseOffset: offset, nextOffset } : undefined
  }

  /** Reads what others have written before this epoch. False when nothing is to be sent in it. */
  async #adopt(epoch: number): Promise<boolean> {
    if (this.#adoptedIn === epoch) return true
    const { topicId, partition, manifest: known } = this.tierLog
    const newest = await this.#context.manifests.latest(topicId, partition)
    if (newest !== undefined && newest.sequence > (known?.sequence ?? 0)) await this.#take(newest)
    const { writer } = newest ?? {}
    if (writer !== undefined && writer.owner === this.#context.writer.owner && writer.epoch > epoch) {
      this.#end(epoch, new PlayheadError('tierFenced', `the leader of epoch ${writer.epoch} has written`))
      return false
    }
    if (!this.#goesOn()) {
      this.#endedIn = epoch
      this.#problem = this.#otherHistory()
      this.#context.report('warn', this.#problem.message)
      return false
    }
    this.#adoptedIn = epoch
    this.#facts = new FactUpload(this.#context.fileSystem, this.#context.store) // others may have sent theirs since
    return true
  }

  /** Throws tierFenced when another cluster, or a broker that was restored, has the tier now. */
  async #take(manifest: TierManifest): Promise<void> {
    const { owner } = this.#context.writer
    if (manifest.writer.owner > owner) {
      const { topicId, partition } = manifest
      throw new PlayheadError(
        'tierFenced',
        `tier of ${topicId}/${partition}: found a manifest of owner ${manifest.writer.owner}, wanted ${owner}, this cluster: a broker was restored from the tier and took over; this one sends nothing more and lets nothing go`,
        { owner: manifest.writer.owner },
      )
    }
    await this.tierLog.adopt(manifest)
  }

  /** Whether this log begins with what the tier ends with: they part ways when an operator has given data up. */
  #goesOn(): boolean {
    const last = this.tierLog.named.at(-1)?.footer
    if (last === undefined || last.nextOffset <= this.log.logStartOffset) return true
    const { nextOffset, leaderEpoch } = last
    if (nextOffset > this.log.logEndOffset) return false
    if (this.log.files.leaderEpochOfSegmentTo(nextOffset) === leaderEpoch) return true
    const end = this.log.replica.epochs.endOf(leaderEpoch, this.log.logEndOffset)
    return end.epoch === leaderEpoch && nextOffset <= end.endOffset
  }

  #otherHistory(): PlayheadError {
    const { nextOffset = 0, leaderEpoch = -1 } = this.tierLog.named.at(-1)?.footer ?? {}
    return new PlayheadError(
      'tierFenced',
      `tier of ${this.log.name}: found offsets up to ${nextOffset} of leader epoch ${leaderEpoch} there, and a log that goes another way here (it ends at ${this.log.logEndOffset}), wanted the same: events that the tier has were given up in the cluster; nothing more of this partition is sent, and what the tier has stays: playhead tier restore reads it`,
    )
  }

  async #sendOne(epoch: number, { baseOffset, footer }: LocalSegment): Promise<boolean> {
    try {
      const gap = this.#gapIn(footer)
      if (gap === undefined) return true
      if (!this.#fits(footer, gap)) return await this.#sendRecast(epoch, gap)
      const segment = await sendSegment(this.#context, this.tierLog, this.#local.directory, baseOffset)
      // It may have been rewritten meanwhile, or somebody else may lead: then the objects are nobody's.
      if ((await this.#local.footer(baseOffset))?.checksum !== segment.footer.checksum) return false
      if (!this.#leadsIn(epoch)) return false
      if (!(await this.#name(epoch, segment))) return false
    } catch (error) {
      if (!isPlayheadError(error, 'damagedData')) throw error
      this.#unsendable.set(baseOffset, footer.checksum)
      this.#context.report('warn', `${this.log.name}: ${error.message}`)
      return true
    }
    this.#unsentBytes -= footer.segmentBytes
    this.#isSent(footer)
    return true
  }

  /** False when the manifest has something else there by now. */
  async #name(epoch: number, segment: TierSegment): Promise<boolean> {
    await this.tierLog.change({ add: [segment] }, { ...this.#context.writer, epoch })
    return this.tierLog.named.some(({ id }) => id === segment.id)
  }

  #isSent({ segmentBytes, bodyBytes }: Footer): void {
    this.#stats.sentSegments++
    this.#stats.sentBytes += segmentBytes + bodyBytes
  }

  /** Whether the file can go as it is: nothing of it is in the tier, which has the same salt. */
  #fits(footer: Footer, gap: OffsetGap): boolean {
    return (
      gap.baseOffset === footer.baseOffset &&
      gap.nextOffset === footer.nextOffset &&
      this.#salt.equals(this.log.replica.salt)
    )
  }

  /** Of what the tier has; of this log while it has nothing. */
  get #salt(): Buffer {
    const last = this.tierLog.named.at(-1)
    return (last && saltOf(last)) ?? this.log.replica.salt
  }

  /** What this log has in other bounds than the tier, or under another salt, is written once more as the tier goes on. Answers whether that was all of it. */
  async #sendRecast(epoch: number, gap: OffsetGap): Promise<boolean> {
    const { fileSystem, scratchDirectory: directory } = this.#context
    try {
      await this.#removeScratch()
      if (!(await this.log.files.recast({ ...gap, salt: this.#salt, directory }))) return false
      const segment = await sendSegment(this.#context, this.tierLog, directory, gap.baseOffset)
      if (!this.#leadsIn(epoch)) return false
      if (await this.#name(epoch, segment)) this.#isSent(segment.footer)
      return false // there may be more of it: the next look tells
    } finally {
      if (await fileSystem.exists(directory)) await this.#removeScratch()
    }
  }

  async #removeScratch(): Promise<void> {
    const { fileSystem, scratchDirectory } = this.#context
    if (await fileSystem.exists(scratchDirectory)) await fileSystem.removeDirectory(scratchDirectory)
  }

  /** What lies before the log's beginning leaves the manifest; its objects go after the grace. */
  async #dropGivenUp(epoch: number): Promise<void> {
    const { logStartOffset } = this.log
    const given = this.tierLog.named.filter(({ footer }) => footer.nextOffset <= logStartOffset)
    const drop = given.map(({ footer }) => footer.baseOffset)
    if (this.#leadsIn(epoch)) await this.tierLog.change({ drop }, { ...this.#context.writer, epoch })
  }

  /** Lets go of files while they are too many bytes, or too old. Not in a log that is compacted: what one replica has rewritten no other has. */
  async #tidy(isChanged: boolean): Promise<void> {
    const { localRetentionBytes, localRetentionMs, cleanup } = this.topic.settings
    const nowMs = this.#context.clock.monotonicMs()
    const { newestBaseOffset } = this.log.files
    const isQuiet = nowMs - this.#tidiedMs < quietLookMs
    if (!isChanged && isQuiet && this.#tidyAt === newestBaseOffset) return
    const isWaiting = this.#context.role()?.leaderEpoch === undefined && nowMs < this.#newsNotBeforeMs
    if (isWaiting && this.#tidyAt === undefined) return
    const isLimited = localRetentionBytes < Infinity || localRetentionMs < Infinity
    const isTidy = !isLimited || cleanup.compacts || (await this.#letGo(localRetentionBytes, localRetentionMs))
    this.#tidyAt = isTidy ? newestBaseOffset : undefined
    this.#tidiedMs = nowMs
  }

  /** False when there is more that should go, and is not sealed, or the tier does not have it yet. */
  async #letGo(bytesMax: number, ageMsMax: number): Promise<boolean> {
    const bases = await this.#local.bases()
    const sizes: number[] = []
    for (const base of bases) sizes.push(await this.#local.sizeBytes(base))
    this.#localBytes = sizes.reduce((sum, size) => sum + size, 0)
    const highWatermark = this.#context.role()?.highWatermark ?? 0
    let [hasAsked, isReady] = [false, true]
    for (const [place, base] of bases.slice(0, -1).entries()) {
      const footer = await this.#local.footer(base)
      if (footer === undefined) {
        isReady = false
        continue
      }
      const isOld = this.#context.clock.now() - footer.lastAppendTimeMs > ageMsMax
      if (this.#localBytes <= bytesMax && !isOld) break
      if (footer.nextOffset <= this.log.logStartOffset) continue // retention takes it
      if (footer.nextOffset > highWatermark) return false
      if (this.#heldOf(footer) === undefined && !hasAsked && !this.#isNamed(footer)) {
        hasAsked = true
        await this.#news()
      }
      if (this.#heldOf(footer) === undefined) {
        if (!this.#isNamed(footer) && this.#isLastNamedBefore(footer)) return false
        continue // the tier has it in other segments than this replica, or its leader could not send it
      }
      if (await this.log.files.alone(() => this.#letGoOf(base))) this.#localBytes -= sizes[place]!
    }
    // What is damaged never gets a sidecar: it stays.
    return isReady || this.log.damage.length > 0
  }

  #isLastNamedBefore({ baseOffset }: Footer): boolean {
    return (this.tierLog.named.at(-1)?.footer.nextOffset ?? 0) <= baseOffset
  }

  /** The same segment in the tier, with the same records: where one leader wrote the last batch at an offset, all before it is the same everywhere. */
  #heldOf(local: Footer): TierSegment | undefined {
    const held = this.tierLog.named.find(({ footer }) => footer.baseOffset === local.baseOffset)
    if (held?.footer.nextOffset !== local.nextOffset || !isSame(held.footer, local)) return undefined
    return saltOf(held)?.equals(this.log.replica.salt) === true ? held : undefined
  }

  async #letGoOf(baseOffset: number): Promise<boolean> {
    const local = await this.#local.footer(baseOffset)
    const held = local && this.#heldOf(local)
    if (held === undefined) return false
    if (!(await this.log.files.exchange(held.footer, () => this.tierLog.prefer(held)))) return false
    await this.#local.remove(baseOffset, { sidecarFirst: true })
    this.tierLog.preferNoMore(baseOffset)
    this.#stats.letGoSegments++
    return true
  }

  /** One request for the manifest behind the one that is known. Where there is none for long it is looked for as if none were known: numbers may have been passed over. */
  async #news(): Promise<void> {
    const { clock, manifests, lookMs } = this.#context
    const nowMs = clock.monotonicMs()
    if (nowMs < this.#newsNotBeforeMs) return
    const { topicId, partition, manifest: known } = this.tierLog
    const newest = await manifests.latest(topicId, partition, this.#newsPauseMs < quietLookMs ? known : undefined)
    const isNew = newest !== undefined && newest.sequence > (known?.sequence ?? 0)
    if (isNew) await this.#take(newest)
    this.#newsPauseMs = isNew ? lookMs : Math.min(Math.max(lookMs, this.#newsPauseMs * 2), quietLookMs)
    this.#newsNotBeforeMs = nowMs + this.#newsPauseMs
  }
}

function isSame(held: Footer, local: Footer): boolean {
  if (held.checksum === local.checksum) return true
  if (held.compaction > 0 || local.compaction > 0) return false
  return held.leaderEpoch === local.leaderEpoch && held.records === local.records && held.batches === local.batches
}
