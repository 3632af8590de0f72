/**
 * StreamIndex: stream -> versions -> offsets, of one log. Newest events are in memory (one growing table, frozen ones while they are being
 * written), all others in the checkpoint store behind it.
 * Invariant: a stream's events are those its stored head covers, then those in the tables with an offset past head.lastOffset, in order; so a
 * head may be read before, during or after the write of a table that it belongs to, and the answer is the same. Adding never reads the store.
 * What is added is at once visible here, so whoever must not show uncommitted events passes a `limitOffset`.
 * If the store cannot be written, frozen tables pile up: IndexMemory watches `dirtyBytes`, and appends wait when it is far beyond what it allows.
 * Neighbours: Log adds, asks and captures; IndexCapture writes; StoredPostings reads what was written.
 */
import assert from 'node:assert/strict'
import type { Yielding } from '../platform/clock.ts'
import { streamKeyHash } from '../protocol/murmur2.ts'
import type { BatchKeys } from './batch-streams.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import { HeadCache } from './head-cache.ts'
import { IndexCapture } from './index-capture.ts'
import { decodeState, headBlockKey, type IndexState, type StoredHead, type StreamHead, stateKey } from './index-keys.ts'
import type { StreamPart } from './merged-streams.ts'
import { removeIndex } from './index-removal.ts'
import { RecentPostings } from './recent-postings.ts'
import { SegmentTables } from './segment-tables.ts'
import { StoredPostings } from './stored-postings.ts'
import { covered, everything, type KeptEvents, lastAfter, noHead, type StreamExtent } from './stream-extent.ts'
import type { StreamLimits } from './stream-limits.ts'
import { StreamLook, type StreamParts, type TablePart } from './stream-look.ts'
import { compareNames, firstNames } from './stream-names.ts'
import { versionsInOrder } from './versions-in-order.ts'

export interface StreamIndexOptions {
  readonly store: CheckpointStore
  /** Before all keys of this log in the store: logPrefix(topicId, partition). */
  readonly prefix: Buffer
  /** A save yields to it. */
  readonly clock: Yielding
  /** As of now. Without it, everything is there. */
  readonly kept?: () => KeptEvents
  readonly limits?: StreamLimits
  /** For the heads kept in memory; the tables are the owner's to bound, by capturing in time. */
  readonly headCacheBytesMax?: number
}

/** Those of one stream, as a sidecar has them. */
export interface SegmentPostings {
  /** The stream's name is at bytes [nameStart, nameEnd). */
  readonly bytes: Buffer
  readonly nameStart: number
  readonly nameEnd: number
  /** Of the first event. */
  readonly firstVersion: number
  /** Events: nextOffset() answers so many offsets. */
  readonly count: number
  nextOffset(): number
}

export interface ListStreams {
  readonly prefix: string
  /** Only streams after this one. */
  readonly afterStream?: string | undefined
  readonly limit: number
  readonly limitOffset: number
}

const headsPerRange = 1024
const headCacheBytesDefault = 8 * 1024 * 1024

export class StreamIndex {
  readonly #options: StreamIndexOptions
  readonly #stored: StoredPostings
  readonly #heads: HeadCache
  #state: IndexState
  #active = new RecentPostings()
  readonly #frozen: RecentPostings[] = []
  #capturing = false
  #captureFailed = false
  /** Of the segment under way; undefined when that did not begin here. */
  #segment: SegmentTables | undefined

  private constructor(options: StreamIndexOptions, state: IndexState) {
    this.#options = options
    this.#stored = new StoredPostings(options.store, options.prefix)
    this.#heads = new HeadCache(options.headCacheBytesMax ?? headCacheBytesDefault)
    this.#state = state
  }

  static open(options: StreamIndexOptions): StreamIndex {
    const badValues = options.store.stats.badValues
    const value = options.store.get(stateKey(options.prefix))
    if (value !== undefined) return new StreamIndex(options, decodeState(value))
    // A state that cannot be read: there may be anything behind it, so the owner finds reachesTo past every log end, and wipes.
    const reachesTo = options.store.stats.badValues === badValues ? 0 : Number.MAX_SAFE_INTEGER
    return new StreamIndex(options, { indexedTo: 0, reachesTo, hasStreams: false })
  }

  /** Events below this offset are in the store. After a restart the owner adds those from here on (adding earlier ones again does no harm). */
  get indexedTo(): number {
    return this.#state.indexedTo
  }

  /** The store may know events up to here. If the log ends before it, the store is not this log's: wipe(), and index from the start. */
  get reachesTo(): number {
    return this.#state.reachesTo
  }

  /** Of tables and heads; an estimate. */
  get memoryBytes(): number {
    return this.dirtyBytes + this.#heads.memoryBytes
  }

  /** Of what a capture would write, and of what is being written. */
  get dirtyBytes(): number {
    let sum = this.#active.memoryBytes
    for (const table of this.#frozen) sum += table.memoryBytes
    return sum
  }

  /** For the sidecar of the segment under way. */
  get segmentTables(): readonly SegmentTables[] {
    return this.#segment === undefined ? [] : [this.#segment]
  }

  /** Those that are not saved, in order. */
  get #tables(): readonly RecentPostings[] {
    return [...this.#frozen, this.#active]
  }

  get capturing(): boolean {
    return this.#capturing
  }

  /** Whether the last capture was not written. */
  get captureFailed(): boolean {
    return this.#captureFailed
  }

  /** One event of `stream` at `offset`. Offsets ascend over all calls. */
  add(stream: string, offset: number): void {
    if (!this.#active.fits(offset)) this.#freeze()
    this.#active.addStream(stream, offset)
  }

  /** The same for a record's key, at bytes [from, to), and its streamKeyHash. */
  addKey(bytes: Buffer, from: number, to: number, hash: number, offset: number): void {
    if (!this.#active.fits(offset)) this.#freeze()
    this.#active.add(bytes, from, to, hash, offset)
  }

  /** The same for all records of a batch that begins at `baseOffset`. */
  addBatch(keys: BatchKeys, baseOffset: number): void {
    if (keys.count === 0) return
    if (!this.#active.fits(baseOffset + keys.count)) this.#freeze()
    this.#active.addBatch(keys, baseOffset)
  }

  /** The same for a batch of one record of which the version is known: a next condition on its stream finds it with one look. */
  addVersion(keys: BatchKeys, offset: number, version: number): void {
    if (!this.#active.fits(offset)) this.#freeze()
    const active = this.#active
    const slot = active.add(keys.bytes, keys.start(0), keys.end(0), keys.hash(0), offset)
    if (active.count(slot) === 1) active.declareFirstVersion(slot, version)
  }

  /** One event that carries its version, as compaction leaves it: the stream's events right before it may be gone. After beginSegment. */
  addKeyVersion(bytes: Buffer, from: number, to: number, offset: number, version: number): void {
    const slot = this.#active.add(bytes, from, to, streamKeyHash(bytes, from, to), offset)
    if (this.#active.count(slot) === 1 && version >= 0) this.#active.declareFirstVersion(slot, version)
  }

  /** lastVersion() of the stream of a batch's first record, where one look tells; else undefined. */
  hotVersion(keys: BatchKeys): number | undefined {
    const { keys: known } = this.#active
    const slot = known.find(keys.bytes, keys.start(0), keys.end(0), keys.hash(0))
    const version = slot < 0 ? -1 : this.#active.newestVersion(slot)
    return version < 0 ? undefined : version
  }

  /** A segment of the log begins. Answers the tables of the one before it, for its sidecar; undefined when that one did not begin here too. */
  nextSegment(): SegmentTables | undefined {
    if (this.#active.events > 0) this.#freeze()
    const ended = this.#segment
    this.#segment = new SegmentTables()
    return ended
  }

  /** What follows are the postings of the segment that begins at `baseOffset`; segments come in order. */
  beginSegment(baseOffset: number): void {
    if (this.#active.events > 0) this.#frozen.push(this.#active)
    this.#active = new RecentPostings(baseOffset)
  }

  /** The same for postings that `add` adds; all or none of them. */
  async addSegment(baseOffset: number, add: () => Promise<void>): Promise<void> {
    assert(this.#segment === undefined && !this.#capturing, 'only while a log is recovered')
    this.beginSegment(baseOffset)
    const tables = this.#frozen.length
    try {
      await add()
    } catch (error) {
      this.#frozen.length = tables
      this.#active = new RecentPostings(baseOffset)
      throw error
    }
  }

  /** What follows are events at or past the end of this table of streams whose events below it are gone. */
  addGone(table: RecentPostings): void {
    if (this.#active.events > 0) this.#freeze()
    this.#frozen.push(table)
  }

  /** Events of a stream in one segment at or past `fromOffset`, in any order of streams; after beginSegment. Throws what the postings throw. */
  addPostings(postings: SegmentPostings, fromOffset = 0): void {
    const { bytes, nameStart, nameEnd, firstVersion, count } = postings
    const hash = streamKeyHash(bytes, nameStart, nameEnd)
    let [skipped, slot] = [0, -1]
    for (let left = count; left > 0; left--) {
      const offset = postings.nextOffset()
      if (offset < fromOffset) {
        skipped++
        continue
      }
      if (!this.#active.fits(offset)) this.#freeze()
      slot = this.#active.add(bytes, nameStart, nameEnd, hash, offset)
    }
    if (slot >= 0 && this.#active.count(slot) === count - skipped)
      this.#active.declareFirstVersion(slot, firstVersion + skipped)
  }

  /** The version of the newest event, committed or not; -1: none. Reads the store if the stream is cold. */
  lastVersion(stream: string): number {
    const head = this.#head(stream)
    let last = head
    for (const table of this.#frozen) last = lastAfter(table, table.slotOf(stream), head.lastOffset, last)
    return lastAfter(this.#active, this.#active.slotOf(stream), head.lastOffset, last).lastVersion
  }

  /** Whether lastVersion() would have to read the store, and so might wait for a disk. */
  isCold(stream: string): boolean {
    return this.#state.hasStreams && !this.#heads.has(stream)
  }

  /** Whether any stream of the batch is cold. */
  anyCold(keys: BatchKeys): boolean {
    if (!this.#state.hasStreams) return false
    for (let record = 0; record < keys.count; record++) {
      const stream = keys.stream(record)
      if (stream !== null && this.isCold(stream)) return true
    }
    return false
  }

  /** Makes streams warm, off the event loop as far as that may have to wait for a disk. A hint: no result depends on it. */
  async prefetch(streams: readonly string[]): Promise<void> {
    const cold = streams.filter((stream) => this.isCold(stream))
    for (const [place, stream] of cold.entries()) {
      if (!this.#options.store.isWarm) {
        await this.#prefetchPages(cold.slice(place))
        for (const other of cold.slice(place)) this.#head(other)
        return
      }
      this.#head(stream)
    }
  }

  /** The same for who looks at the stream anyway; undefined where nothing is to be waited for. */
  prefetchPages(stream: string): Promise<void> | undefined {
    return this.isCold(stream) && !this.#options.store.isWarm ? this.#prefetchPages([stream]) : undefined
  }

  #prefetchPages(streams: readonly string[]): Promise<void> {
    return this.#options.store.prefetch(
      streams.map((stream) => headBlockKey(this.#options.prefix, Buffer.from(stream))),
    )
  }

  /** The stream as it is now, for who reads it: it is warm from then on. */
  look(stream: string): StreamLook {
    const stored = this.#storedHead(stream)
    if (this.isCold(stream)) this.#heads.set(stream, streamHeadOf(stored))
    return this.#lookAt(stream, stored)
  }

  /** What the stream is, of its events below `limitOffset`. */
  lastBelow(stream: string, limitOffset: number): StreamExtent {
    return this.#lookAt(stream).lastBelow(limitOffset)
  }

  /** The first version of `stream` at or past `offset`, there or not. */
  versionFrom(stream: string, offset: number): number {
    return this.#lookAt(stream).versionFrom(offset)
  }

  /** The version of the event of `stream` at exactly `offset`; -1 when that offset is not one of its events. */
  versionAt(stream: string, offset: number): number {
    return this.#lookAt(stream).versionAt(offset)
  }

  /** As versions-in-order.ts has it: `versionAt` of many streams' first events. */
  versionsInOrder(wholeTo?: number): (parts: readonly StreamPart[]) => number {
    return versionsInOrder({
      wholeTo,
      state: () => this.#state,
      tables: () => this.#tables,
      headsInOrder: () => this.#stored.headsInOrder(),
      versionAt: (stream, offset) => this.versionAt(stream, offset),
    })
  }

  /** Streams with events below limitOffset that are there, in the order of their UTF-8 bytes. */
  list({ prefix, afterStream, limit, limitOffset }: ListStreams): { stream: string; lastVersion: number }[] {
    const found: { stream: string; lastVersion: number }[] = []
    let after = afterStream
    while (found.length < limit) {
      const page = this.#names(prefix, after, Math.min(headsPerRange, limit))
      for (const stream of page) {
        const { lastVersion, lastOffset } = this.lastBelow(stream, limitOffset)
        if (lastOffset >= 0 && found.length < limit) found.push({ stream, lastVersion })
      }
      if (page.length < Math.min(headsPerRange, limit)) break
      after = page.at(-1)
    }
    return found
  }

  /** Streams that ever had an event below `endOffset`, there or not, with its version; `limit` names after `afterStream` are looked at, in order. */
  heads(
    afterStream: string | undefined,
    limit: number,
    endOffset: number,
  ): { readonly heads: { stream: string; lastVersion: number }[]; readonly lastName: string | undefined } {
    const names = this.#names('', afterStream, limit)
    const heads = names.map((stream) => ({
      stream,
      lastVersion: this.versionFrom(stream, endOffset) - 1,
    }))
    return { heads: heads.filter(({ lastVersion }) => lastVersion >= 0), lastName: names.at(-1) }
  }

  /** The first `limit` names of all that begin with `prefix` and come after `after`, in the order of their UTF-8 bytes. */
  #names(prefix: string, after: string | undefined, limit: number): string[] {
    const recent: string[] = []
    for (const table of this.#tables) recent.push(...firstNames(table.names(), prefix, after, limit))
    const stored = !this.#state.hasStreams ? [] : this.#stored.names(prefix, after, limit)
    // Past the end of a full answer of either source there may be names that we have not seen.
    return [...new Set([...recent, ...stored])].toSorted(compareNames).slice(0, limit)
  }

  /**
   * Takes everything added so far out for writing, as one step; it stays readable until it is written. `nextOffset`: the end of the log now. One
   * capture at a time, until its write() or abandon() is over.
   */
  capture(nextOffset: number): IndexCapture {
    assert(!this.#capturing, 'one capture at a time')
    assert(
      nextOffset >= this.#state.indexedTo && nextOffset > this.#active.lastOffset,
      'a capture covers all that was added',
    )
    if (this.#active.events > 0) this.#freeze()
    return this.#capture(nextOffset)
  }

  /**
   * The same for what an earlier capture left behind because its write failed, without what came later: so that many failures do not leave many
   * tables. `nextOffset`: the end of the log now. Undefined when nothing was left.
   */
  captureLeft(nextOffset: number): IndexCapture | undefined {
    assert(!this.#capturing, 'one capture at a time')
    const end = this.#active.events > 0 ? this.#active.baseOffset : nextOffset
    // Never less than the store may know already: it would not be told that it does.
    return this.#frozen.length === 0 || end < this.#state.reachesTo ? undefined : this.#capture(end)
  }

  #capture(nextOffset: number): IndexCapture {
    const tables = [...this.#frozen]
    const { store, prefix, clock } = this.#options
    this.#capturing = true
    const before = this.#state.indexedTo
    const { hasStreams } = this.#state
    if (tables.length > 0)
      this.#state = { indexedTo: before, reachesTo: Math.max(nextOffset, this.#state.reachesTo), hasStreams }
    const onEnd = (outcome: 'committed' | 'failed') => {
      this.#capturing = false
      this.#captureFailed = outcome === 'failed'
      if (outcome === 'failed') return this.#heads.clear() // it is not known which of them the store took
      for (const table of this.#frozen.splice(0, tables.length)) table.isSaved = true
      this.#state = {
        indexedTo: nextOffset,
        reachesTo: Math.max(nextOffset, this.#state.reachesTo),
        hasStreams: hasStreams || tables.length > 0,
      }
    }
    return new IndexCapture(
      { store, prefix, clock, stored: this.#stored, heads: this.#heads, hasStreams, onEnd },
      tables,
      before,
      nextOffset,
    )
  }

  /** Forgets everything, here and in the store. */
  async wipe(): Promise<void> {
    assert(!this.#capturing, 'not while a capture is being written')
    await removeIndex(this.#options.store, this.#options.prefix)
    this.#heads.clear()
    this.#frozen.length = 0
    this.#active = new RecentPostings()
    this.#state = { indexedTo: 0, reachesTo: 0, hasStreams: false }
  }

  #freeze(): void {
    this.#frozen.push(this.#active)
    this.#segment?.add(this.#active)
    this.#active = new RecentPostings()
  }

  #head(stream: string): StreamHead {
    if (!this.#state.hasStreams) {
      this.#heads.noteAsked()
      return noHead
    }
    const known = this.#heads.get(stream)
    if (known !== undefined) return known
    const head = streamHeadOf(this.#stored.head(stream))
    this.#heads.set(stream, head)
    return head
  }

  #storedHead(stream: string): StoredHead | undefined {
    return this.#state.hasStreams ? this.#stored.head(stream) : undefined
  }

  /** The stored head is read first: what it covers is in the store whatever else happens. */
  #lookAt(stream: string, stored = this.#storedHead(stream)): StreamLook {
    const { kept, limits } = this.#options
    return new StreamLook(this.#parts(stream, stored), this.#stored, kept ?? everything, limits)
  }

  #parts(stream: string, stored: StoredHead | undefined): StreamParts {
    const lastOffset = stored?.lastOffset ?? -1
    let head = stored
    let tables: TablePart[] = []
    let known: StreamHead = stored ?? noHead
    for (const table of this.#tables) {
      const slot = table.slotOf(stream)
      if (slot < 0) continue
      const { firstVersion, lastVersion } = lastAfter(table, slot, lastOffset, known)
      const from = covered(table, slot, lastOffset)
      if (table.count(slot) === 0 && firstVersion > lastVersion) {
        head = undefined // whatever was known before is gone
        tables = []
      } else if (table.count(slot) > from) {
        tables.push({ table, slot, from, firstVersion: lastVersion + 1 - (table.count(slot) - from) })
      }
      known = { firstVersion, lastVersion, lastOffset }
    }
    return { stream, head, firstVersion: known.firstVersion, lastVersion: known.lastVersion, tables }
  }
}

/** What of it is kept in memory. */
function streamHeadOf(stored: StoredHead | undefined): StreamHead {
  const { lastVersion, firstVersion, lastOffset } = stored ?? noHead
  return { lastVersion, firstVersion, lastOffset }
}
