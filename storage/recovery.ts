/**
 * Recovery: opens the segments of one log after any kind of end, decides what may be served, and brings everything derived up to the log.
 *
 * Verdicts, at the first frame that is not valid (segment-format.ts says what is):
 * 1. Was it durable? Yes, if a later sound frame has a floor beyond it, if a checkpoint says so, or if a later segment begins beyond it.
 *    Then it is corruption: the bytes stay as they are, the range is damaged and named, and the log goes on behind it. A last segment with
 *    damage takes no more appends: the next append begins a new one, so that nothing is ever written over evidence.
 * 2. If not, it is the torn tail of a write that nobody was told of: it is cut off.
 * Before anything is served, what stands past the proven floor is written again in place and synced: after a failed sync the page
 * cache may show bytes that are not on disk. Then a frame says that all of it is durable.
 * Invariants: running it again at any point gives the same result; nothing proven durable is changed or removed.
 * Neighbours: Log.open calls it; segment-recovery.ts reads one segment; tail-repair.ts writes.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { decompressedBytesMax } from '../protocol/limits.ts'
import { Damage, describeRange } from './damage.ts'
import type { DamagedRange } from './damage.ts'
import { logPrefix } from './index-keys.ts'
import { batchFactsAt, producerBatchAt } from './batch-facts.ts'
import { eachKey, eachKeyVersion, keysOf } from './batch-streams.ts'
import { ProducerState } from './producer-state.ts'
import { readCheckpoint } from './recovery-checkpoint.ts'
import { restoreProducers } from './restored-producers.ts'
import type { RecoveryCheckpoint } from './recovery-checkpoint.ts'
import type { Segment } from './segment.ts'
import { SALT_BYTES } from './segment-format.ts'
import { findHeads, goneStreams, HeadsReader } from './heads.ts'
import type { HeadsFile } from './heads.ts'
import { LeaderEpochs } from './leader-epochs.ts'
import { LogFacts } from './log-facts.ts'
import { findSegmentFiles } from './segment-files.ts'
import type { SegmentFile, SegmentFiles } from './segment-files.ts'
import { SegmentRecovery } from './segment-recovery.ts'
import type { ScannedFrame } from './segment-scan.ts'
import { Sidecar } from './sidecar.ts'
import { sidecarPath } from './sealing.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import { StreamIndex } from './stream-index.ts'
import { StreamLimits } from './stream-limits.ts'

export interface RecoveredLog {
  /** In order. The last one is active, with its file open, unless it is sealed. */
  readonly segments: Segment[]
  /** Whole segments without a sidecar, in order, with their files open. */
  readonly unsealed: readonly { readonly segment: Segment; readonly producers: Buffer }[]
  readonly salt: Buffer
  readonly nextOffset: number
  readonly lastAppendTimeMs: number
  /** Of the newest batch; -1 = there is none. */
  readonly leaderEpoch: number
  /** The highest floor that a frame on disk has. */
  readonly writtenFloor: number
  readonly damage: Damage
  readonly facts: LogFacts
  readonly epochs: LeaderEpochs
  /** Among those of the broker's IndexMemory. */
  readonly index: StreamIndex
  /** Empty. */
  readonly limits: StreamLimits
  readonly producers: ProducerState
  /** Of batches that were read because something derived did not have them yet. */
  readonly replayedBytes: number
}

/** How far behind a segment damage may begin to share its table in the index, which has 32 bits for an offset. */
const lostOffsetsMax = 2 ** 31
/** Of the memory of all indexes: one that has less than this part of it unsaved is not worth a save on the way. */
const smallShare = 16

/** Throws damagedData when the files cannot be one log, unsupportedFormat when a newer release wrote them. */
export async function recoverLog(context: StorageContext, identity: LogIdentity): Promise<RecoveredLog> {
  const prefix = logPrefix(identity.topicId, identity.partition)
  const checkpoint = readCheckpoint(context.checkpointStore, prefix)
  const proven =
    checkpoint === undefined
      ? undefined
      : { salt: Buffer.from(checkpoint.facts.salt, 'hex'), nextOffset: checkpoint.facts.nextOffset }
  const facts = await LogFacts.open(context, identity.directory)
  const files = await findSegmentFiles(context, identity, proven)
  const heads = await findHeads(context.fileSystem, identity.directory)
  const recovery = new LogRecovery(context, identity, { files, facts, heads }, checkpoint)
  return recovery.run()
}

/** What lies in the directory of the log. */
interface FoundFiles {
  readonly files: SegmentFiles
  readonly facts: LogFacts
  /** In the order of their ends. */
  readonly heads: readonly HeadsFile[]
}

class LogRecovery {
  readonly #context: StorageContext
  readonly #identity: LogIdentity
  readonly #files: SegmentFiles
  readonly #facts: LogFacts
  /** Those that the index may lack, in order. */
  #heads: readonly HeadsFile[]
  readonly #damage = new Damage()
  readonly #index: StreamIndex
  readonly #limits = new StreamLimits()
  readonly #producers: ProducerState
  readonly #segments: Segment[] = []
  readonly #unsealed: { segment: Segment; producers: Buffer }[] = []
  /** Undefined when there is none, or none that belongs to these files. */
  #checkpoint: RecoveryCheckpoint | undefined
  /** The producer state covers everything below this. */
  #producersTo = 0
  /** Place of the last segment that compaction has rewritten; -1: of none. */
  readonly #lastRewritten: number
  #nextOffset = 0
  #leaderEpoch = -1
  #lastAppendTimeMs = 0
  #writtenFloor = 0
  #replayedBytes = 0

  constructor(
    context: StorageContext,
    identity: LogIdentity,
    { files, facts, heads }: FoundFiles,
    checkpoint: RecoveryCheckpoint | undefined,
  ) {
    this.#context = context
    this.#identity = identity
    this.#files = files
    this.#facts = facts
    const prefix = logPrefix(identity.topicId, identity.partition)
    const kept = () => facts.values
    const { checkpointStore: store, haste, indexMemory } = context
    const hastyClock = haste.yielding(() => indexMemory.haste)
    this.#index = StreamIndex.open({ store, prefix, clock: hastyClock, kept, limits: this.#limits })
    this.#heads = heads.filter(({ endOffset }) => endOffset > this.#index.indexedTo)
    this.#lastRewritten = files.entries.findLastIndex(({ compaction }) => compaction > 0)
    this.#producers = new ProducerState(context.settings.producersMax)
    if (checkpoint !== undefined && checkpoint.facts.salt === files.salt?.toString('hex')) this.#checkpoint = checkpoint
  }

  async run(): Promise<RecoveredLog> {
    const { indexMemory } = this.#context
    indexMemory.add(this.#index)
    try {
      const recovered = await this.#recover()
      const { nextOffset: endOffset, leaderEpoch: lastEpoch } = recovered
      const { directory } = this.#identity
      const epochs = await LeaderEpochs.open(this.#context.fileSystem, directory, { endOffset, lastEpoch })
      return { ...recovered, epochs }
    } catch (error) {
      indexMemory.remove(this.#index)
      for (const { file } of this.#segments) await file?.close().catch(() => undefined)
      throw error
    }
  }

  async #recover(): Promise<Omit<RecoveredLog, 'epochs'>> {
    for (const note of this.#files.damage) this.#note(note)
    // Also of what cannot be read now: no later batch may be told an earlier time.
    this.#lastAppendTimeMs = this.#checkpoint?.facts.lastAppendTimeMs ?? 0
    await this.#restoreProducers()
    await this.#forgetIndexBehindCompaction()
    const { entries } = this.#files
    const { logStartOffset } = this.#facts
    this.#nextOffset = Math.min(logStartOffset, entries[0]?.baseOffset ?? logStartOffset)
    for (const place of entries.keys()) await this.#openSegment(place)
    if (entries.length === 0) this.#nameAllMissing()
    await this.#addHeads(this.#nextOffset)
    if (this.#index.reachesTo > this.#nextOffset) await this.#indexAgain()
    for (const range of this.#damage.ranges) this.#context.report('warn', `${this.#name}: ${describeRange(range)}`)
    return {
      segments: this.#segments,
      unsealed: this.#unsealed,
      salt: this.#files.salt ?? this.#context.random.bytes(SALT_BYTES),
      nextOffset: this.#nextOffset,
      lastAppendTimeMs: this.#lastAppendTimeMs,
      leaderEpoch: this.#leaderEpoch,
      writtenFloor: this.#writtenFloor,
      damage: this.#damage,
      facts: this.#facts,
      index: this.#index,
      limits: this.#limits,
      producers: this.#producers,
      replayedBytes: this.#replayedBytes,
    }
  }

  /**
   * Compaction has gone past what the index has saved: the heads of before it and the versions behind it do not go together, since nobody knows which
   * events between them are gone. All is made anew from the sidecars. Compaction saves the index first, so this is rare.
   */
  async #forgetIndexBehindCompaction(): Promise<void> {
    const [{ indexedTo, reachesTo }, { entries }] = [this.#index, this.#files]
    const last = entries[this.#lastRewritten]
    const end = last?.footer?.nextOffset ?? entries[this.#lastRewritten + 1]?.baseOffset ?? Infinity
    const isBehind = last !== undefined && end > indexedTo
    if (reachesTo === 0 || !isBehind) return
    this.#context.report('info', `${this.#name}: found an index saved before a compaction; it is made again`)
    await this.#wipeIndex()
  }

  async #wipeIndex(): Promise<void> {
    await this.#index.wipe()
    this.#heads = await findHeads(this.#context.fileSystem, this.#identity.directory)
  }

  get #name(): string {
    return `${this.#identity.topic}/${this.#identity.partition}`
  }

  async #openSegment(place: number): Promise<void> {
    const entry = this.#files.entries[place]
    if (entry === undefined) return
    this.#context.progress.reached(this.#name, place + 1, this.#files.entries.length)
    this.#checkOrder(entry.baseOffset, entry.path)
    const nextBase = this.#files.entries[place + 1]?.baseOffset
    await this.#addHeads(entry.baseOffset)
    if (entry.foreign !== undefined) return this.#skipForeign(entry, nextBase)
    const recovery = new SegmentRecovery({
      context: this.#context,
      identity: this.#identity,
      salt: this.#files.salt ?? Buffer.alloc(SALT_BYTES),
      entry,
      nextBase,
      leaderEpoch: this.#leaderEpoch,
      checkpoint: this.#checkpoint,
      indexedTo: this.#index.indexedTo,
      damage: this.#damage,
    })
    const trusted = nextBase === undefined ? undefined : recovery.fromFooter()
    if (trusted === undefined) this.#beginReplay(entry)
    const segment = trusted ?? (await recovery.scan((frame) => this.#replay(frame, entry)))
    if (trusted !== undefined) await this.#replayTrusted(trusted, recovery, entry)
    this.#segments.push(segment)
    this.#nextOffset = segment.nextOffset
    this.#leaderEpoch = Math.max(this.#leaderEpoch, segment.leaderEpoch)
    this.#lastAppendTimeMs = Math.max(this.#lastAppendTimeMs, segment.lastAppendTimeMs)
    this.#writtenFloor = Math.max(this.#writtenFloor, recovery.frameFloor)
    if (trusted === undefined && nextBase !== undefined && !segment.damaged) {
      // A state restored from beyond the segment is not the one of its end: then its sidecar goes without.
      const producers = this.#producersTo <= segment.nextOffset ? this.#producers.snapshot() : Buffer.alloc(0)
      this.#unsealed.push({ segment, producers })
    }
    // Behind the last one that was rewritten at once: an index that does not reach so far is begun again by the next start.
    if (nextBase !== undefined) await this.#saveLargeIndex(segment.nextOffset, place === this.#lastRewritten)
  }

  /** Puts what a batch says into index and producers, where they do not have it yet. */
  #replay(
    { bytes, batchStart, batchEnd, appendTimeMs }: ScannedFrame,
    { compaction }: SegmentFile,
  ): Promise<void> | undefined {
    if (batchEnd === batchStart) return undefined
    this.#replayed(batchEnd - batchStart)
    const producer = producerBatchAt(bytes, batchStart)
    const { baseOffset, nextOffset } = batchFactsAt(bytes, batchStart)
    if (baseOffset >= this.#producersTo) this.#producers.record(producer, baseOffset, appendTimeMs)
    const { indexedTo } = this.#index
    if (nextOffset <= indexedTo) return undefined
    if (compaction > 0) {
      return eachKeyVersion(bytes, batchStart, decompressedBytesMax, (records, from, to, offset, version) => {
        if (offset >= indexedTo) this.#index.addKeyVersion(records, from, to, offset, version)
      })
    }
    const keys = baseOffset < indexedTo ? undefined : keysOf(bytes, batchStart)
    if (keys !== undefined) {
      this.#index.addBatch(keys, baseOffset)
      return undefined
    }
    return eachKey(bytes, batchStart, decompressedBytesMax, (records, from, to, hash, offset) => {
      if (offset >= indexedTo) this.#index.addKey(records, from, to, hash, offset)
    })
  }

  #replayed(bytes: number): void {
    this.#replayedBytes += bytes
    this.#context.progress.replayed(bytes)
  }

  /** A sealed segment whose footer holds is not read, unless something derived lacks what is in it. */
  async #replayTrusted(segment: Segment, recovery: SegmentRecovery, entry: SegmentFile): Promise<void> {
    const { nextOffset } = segment
    if (this.#producersTo < nextOffset) {
      this.#beginReplay(entry)
      await recovery.replay(segment, (frame) => this.#replay(frame, entry))
    } else if (this.#index.indexedTo < nextOffset) await this.#indexFromSidecar(segment, recovery, entry)
  }

  /** In a rewritten segment events say their versions, once for each stream. */
  #beginReplay({ baseOffset, compaction }: SegmentFile): void {
    if (compaction > 0 && this.#index.indexedTo <= baseOffset) this.#index.beginSegment(baseOffset)
  }

  async #indexFromSidecar(segment: Segment, recovery: SegmentRecovery, entry: SegmentFile): Promise<void> {
    const { indexedTo } = this.#index
    const lost =
      indexedTo > segment.baseOffset
        ? undefined
        : this.#damage.ranges.findLast(
            ({ offset, nextOffset }) =>
              nextOffset <= segment.baseOffset && segment.baseOffset - offset < lostOffsetsMax,
          )
    try {
      await using sidecar = await Sidecar.open(this.#context.fileSystem, sidecarPath(this.#identity, segment))
      await sidecar.checkBody()
      await this.#index.addSegment(lost?.offset ?? Math.max(segment.baseOffset, indexedTo), async () => {
        for await (const entries of sidecar.blocks()) {
          while (entries.next()) {
            if (lost !== undefined) this.#indexMissing(entries.stream, entries.firstVersion, lost)
            this.#index.addPostings(entries, indexedTo)
          }
        }
      })
      this.#replayed(segment.endPosition)
      return
    } catch (error) {
      if (!(error instanceof PlayheadError)) throw error
      this.#context.report(
        'warn',
        `${segment.path}: its sidecar cannot be used (${error.message}); the segment is read instead`,
      )
    }
    this.#beginReplay(entry)
    await recovery.replay(segment, (frame) => this.#replay(frame, entry))
  }

  /**
   * Where events of a stream are missing, the next sidecar says how many by the version it begins with: they get offsets in the damage, so that
   * reading them is refused by name and no version after them changes.
   */
  #indexMissing(stream: string, firstVersion: number, lost: DamagedRange): void {
    // Of all that stands before the sidecar's segment: where events of the stream follow the damage already, none can be put before them.
    const { lastVersion, lastOffset } = this.#index.lastBelow(stream, Number.MAX_SAFE_INTEGER)
    const count = firstVersion - lastVersion - 1
    if (lastVersion < 0 || count <= 0 || lost.offset <= lastOffset || lost.nextOffset - lost.offset < count) return
    for (let offset = lost.nextOffset - count; offset < lost.nextOffset; offset++) this.#index.add(stream, offset)
  }

  /** Streams that have lost their newest events below `offset`, as far as the index lacks them: they go on after their last version. */
  async #addHeads(offset: number): Promise<void> {
    for (let next = this.#heads[0]; next !== undefined && next.endOffset <= offset; next = this.#heads[0]) {
      this.#heads = this.#heads.slice(1)
      const line = await HeadsReader.open(this.#context.fileSystem, next.path, this.#identity)
      try {
        for (let isMore = true; isMore; ) {
          const table = await goneStreams(line, next.endOffset, this.#context.settings.indexMemoryBytes / 4)
          isMore = table.streams > 0
          if (isMore) this.#index.addGone(table)
          // Not as far as their end before all of them are there.
          await this.#saveLargeIndex(Math.max(this.#index.indexedTo, next.endOffset - 1))
        }
      } finally {
        await line.close()
      }
    }
  }

  /** An index made anew from a long history must not wait in memory for the end of it. What a broker has room for is saved when it serves. */
  async #saveLargeIndex(nextOffset: number, isWanted = false): Promise<void> {
    const { dirtyBytes } = this.#index
    if (dirtyBytes === 0 || !(isWanted || this.#isLarge(dirtyBytes))) return
    try {
      await this.#index.capture(nextOffset).write([])
    } catch (error) {
      this.#context.report('warn', `${this.#name}: the stream index was not saved: ${String(error)}`)
    }
  }

  /** Whether what is not saved of all logs takes half of their memory; all of it, where this log has next to nothing of it. */
  #isLarge(dirtyBytes: number): boolean {
    const { indexMemory } = this.#context
    indexMemory.look()
    const { usedBytes, limitBytes } = indexMemory
    return usedBytes >= limitBytes || (usedBytes >= limitBytes / 2 && dirtyBytes >= limitBytes / smallShare)
  }

  async #restoreProducers(): Promise<void> {
    this.#producersTo = await restoreProducers({
      context: this.#context,
      identity: this.#identity,
      entries: this.#files.entries,
      checkpoint: this.#checkpoint,
      producers: this.#producers,
    })
    // Of batches that cannot be read any more, too: no later one may be told an earlier time.
    this.#lastAppendTimeMs = Math.max(this.#lastAppendTimeMs, this.#producers.lastTimeMs)
  }

  /** What the index has is not this log's: it is made anew from all segments. */
  async #indexAgain(): Promise<void> {
    this.#context.report('warn', `${this.#name}: the stream index is not this log's; it is made again`)
    this.#producersTo = this.#nextOffset // what producers have is known by now
    await this.#wipeIndex()
    for (const [place, segment] of this.#segments.entries()) {
      const entry = this.#files.entries.find(({ baseOffset }) => baseOffset === segment.baseOffset)
      if (entry === undefined) continue
      await this.#addHeads(entry.baseOffset)
      const recovery = new SegmentRecovery({
        context: this.#context,
        identity: this.#identity,
        salt: this.#files.salt ?? Buffer.alloc(SALT_BYTES),
        entry,
        nextBase: this.#segments[place + 1]?.baseOffset,
        leaderEpoch: -1,
        checkpoint: undefined,
        indexedTo: 0,
        damage: new Damage(),
      })
      this.#beginReplay(entry)
      await recovery.replay(segment, (frame) => this.#replay(frame, entry))
      await this.#saveLargeIndex(segment.nextOffset)
    }
    await this.#addHeads(this.#nextOffset)
  }

  /** Throws damagedData for a segment that begins before the one before it ends; names what is missing between two. */
  #checkOrder(baseOffset: number, path: string): void {
    if (baseOffset < this.#nextOffset) {
      throw new PlayheadError(
        'damagedData',
        `${path}: found a segment that begins at offset ${baseOffset}, wanted ${this.#nextOffset}, where the one before it ends; restore the directory from a copy`,
        { file: path, offset: baseOffset },
      )
    }
    if (baseOffset === this.#nextOffset) return
    this.#damage.add({
      file: this.#segments.at(-1)?.path ?? path,
      position: this.#segments.at(-1)?.endPosition ?? 0,
      endPosition: this.#segments.at(-1)?.endPosition ?? 0,
      offset: this.#nextOffset,
      nextOffset: baseOffset,
      reason: 'records that were durable are missing: there is no file that holds them',
    })
    this.#nextOffset = baseOffset
  }

  /** No file at all, and a checkpoint that saw records: the log goes on behind them. */
  #nameAllMissing(): void {
    const { facts } = this.#checkpoint ?? {}
    if (facts === undefined) return
    this.#damage.add({
      file: this.#identity.directory,
      position: 0,
      endPosition: 0,
      offset: this.#nextOffset,
      nextOffset: facts.nextOffset,
      reason: 'records that were durable are missing: there is no file that holds them',
    })
    this.#nextOffset = Math.max(this.#nextOffset, facts.nextOffset)
    this.#leaderEpoch = facts.leaderEpoch
    this.#lastAppendTimeMs = facts.lastAppendTimeMs
  }

  /** A file of another log, or of another place in this one: nothing of it is served. */
  #skipForeign(
    entry: { path: string; baseOffset: number; foreign?: string | undefined },
    nextBase: number | undefined,
  ): void {
    if (nextBase === undefined) {
      throw new PlayheadError(
        'damagedData',
        `${entry.path}: found ${entry.foreign}, wanted the newest segment of ${this.#name}; restore it from a copy`,
        {
          file: entry.path,
        },
      )
    }
    const reason = `the file holds ${entry.foreign}`
    this.#damage.add({
      file: entry.path,
      position: 0,
      endPosition: 0,
      offset: entry.baseOffset,
      nextOffset: nextBase,
      reason,
    })
    this.#nextOffset = nextBase
  }

  #note(text: string): void {
    this.#damage.note(text)
    this.#context.report('warn', `${this.#name}: ${text}`)
  }
}
