/**
 * IndexCapture: writes the postings captured at one moment behind those in the checkpoint store, in slices, so that the event loop is never
 * held for long. Invariant: a stream's new chunks and its head go in one transaction, and offsets the stored head already covers are passed
 * over. So a write that stops halfway, for whatever reason, leaves a store that is right stream by stream and can simply be written again.
 * `indexedTo` moves with the last transaction only.
 * Neighbours: StreamIndex makes one, Log calls write() when everything captured is durable in the log.
 */
import assert from 'node:assert/strict'
import type { Clock } from '../platform/clock.ts'
import type { CheckpointPut, CheckpointStore } from './checkpoint-store.ts'
import {
  chunkKey,
  encodeHead,
  encodeState,
  headKey,
  type StoredHead,
  type StreamHead,
  stateKey,
  tailOffsets,
} from './index-keys.ts'
import { packOffsets, varintBytesMax, writeVarint } from './postings.ts'
import type { RecentPostings } from './recent-postings.ts'
import type { StoredPostings } from './stored-postings.ts'
import { sortNames } from './stream-names.ts'

/** Streams merged between two yields to the event loop: about 2 ms. */
const streamsPerTurn = 512
/** Events of one stream merged at a time, and how many cost as much as a stream. */
const eventsPerTurn = 16_384
const eventsPerStream = 32
/** Streams of one transaction. */
const streamsPerWrite = 4096
/** Transactions handed to the store and not done yet. */
const writesInFlightMax = 3
const chunkEntriesMax = 512
/** A tail larger than this leaves the head and becomes a chunk. */
const tailBytesMax = 512

interface Slice {
  readonly puts: CheckpointPut[]
  readonly heads: [string, StreamHead][]
}

export interface CaptureTarget {
  readonly store: CheckpointStore
  readonly prefix: Buffer
  readonly stored: StoredPostings
  readonly clock: Clock
  /** Heads that the store holds from now on. */
  onHeads(heads: readonly [string, StreamHead][]): void
  /** Called once, when the write is over. */
  onEnd(outcome: 'committed' | 'failed'): void
}

export class IndexCapture {
  /** Everything below this offset is in the capture or was in the store before. */
  readonly nextOffset: number
  readonly #indexedTo: number
  readonly #tables: readonly RecentPostings[]
  readonly #target: CaptureTarget
  readonly #inFlight = new Set<Promise<void>>()
  #failure: unknown
  #started = false

  constructor(target: CaptureTarget, tables: readonly RecentPostings[], indexedTo: number, nextOffset: number) {
    this.#target = target
    this.#tables = tables
    this.#indexedTo = indexedTo
    this.nextOffset = nextOffset
  }

  /**
   * Writes everything; to be called once, when all below nextOffset is durable in the log. `extra` goes with the last transaction, the one that
   * moves indexedTo. Rejects as the store does; then nothing is lost, and the next capture covers this one too.
   */
  async write(extra: readonly CheckpointPut[]): Promise<void> {
    assert(!this.#started, 'a capture is written once')
    this.#started = true
    try {
      const { puts, heads } = await this.#writeTables()
      await this.#target.store.write([...puts, this.#state(this.nextOffset), ...extra])
      this.#target.onHeads(heads)
      this.#target.onEnd('committed')
    } catch (error) {
      await Promise.allSettled(this.#inFlight)
      this.#target.onEnd('failed')
      throw error
    }
  }

  /** Gives the capture up without writing: the next one covers it. */
  abandon(): void {
    assert(!this.#started, 'a capture that is being written cannot be given up')
    this.#started = true
    this.#target.onEnd('failed')
  }

  /** Answers what may go with the state: all of a small capture, else nothing. */
  async #writeTables(): Promise<Slice> {
    const [table] = this.#tables
    if (table === undefined) return { puts: [], heads: [] }
    if (this.#tables.length === 1 && table.streams <= streamsPerTurn)
      return this.#merge(table, [...table.names()].toSorted())
    await this.#target.store.write([this.#state(this.#indexedTo)])
    for (const each of this.#tables) {
      // In order, because neighbours share pages: of a million streams a transaction then touches a hundred pages and not four thousand.
      const names = await sortNames([...each.names()], 'units', this.#target.clock)
      for (let at = 0; at < names.length; at += streamsPerWrite) {
        await this.#writeSlice(await this.#merge(each, names.slice(at, at + streamsPerWrite)))
      }
      await this.#drain(0) // the next table may have the same streams, and reads the heads that this one wrote
    }
    return { puts: [], heads: [] }
  }

  async #merge(table: RecentPostings, streams: readonly string[]): Promise<Slice> {
    const slice: Slice = { puts: [], heads: [] }
    let work = 0
    for (const stream of streams) {
      const slot = table.slotOf(stream)
      let head = this.#target.stored.head(stream)
      const count = table.count(slot)
      const covered = head !== undefined && table.firstOffset(slot) <= head.lastOffset
      let from = covered ? table.countBelow(slot, head!.lastOffset + 1) : 0
      if (from === count) continue
      while (from < count) {
        const to = Math.min(count, from + eventsPerTurn)
        head = extendHead(this.#target.prefix, stream, head, table, { slot, from, to }, slice.puts)
        work += 1 + (to - from) / eventsPerStream
        from = to
        if (work < streamsPerTurn) continue
        work = 0
        await this.#target.clock.yield()
      }
      slice.puts.push({ key: headKey(this.#target.prefix, stream), value: encodeHead(head!) })
      slice.heads.push([
        stream,
        { lastVersion: head!.lastVersion, firstVersion: head!.firstVersion, lastOffset: head!.lastOffset },
      ])
    }
    return slice
  }

  async #writeSlice({ puts, heads }: Slice): Promise<void> {
    await this.#drain(writesInFlightMax - 1)
    const write: Promise<void> = this.#target.store
      .write(puts)
      .then(() => this.#target.onHeads(heads))
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => this.#inFlight.delete(write))
    this.#inFlight.add(write)
  }

  async #drain(inFlightMax: number): Promise<void> {
    while (this.#inFlight.size > inFlightMax) await Promise.race(this.#inFlight)
    if (this.#failure !== undefined) throw this.#failure
  }

  #state(indexedTo: number): CheckpointPut {
    return { key: stateKey(this.#target.prefix), value: encodeState({ indexedTo, reachesTo: this.nextOffset }) }
  }
}

/** The head of a stream with the events at places [from, to) of `table` behind it; chunks that leave its tail are added to `puts`. */
function extendHead(
  prefix: Buffer,
  stream: string,
  old: StoredHead | undefined,
  table: RecentPostings,
  { slot, from, to }: { slot: number; from: number; to: number },
  puts: CheckpointPut[],
): StoredHead {
  const declared = Math.max(0, table.firstVersion(slot))
  const lastVersion = (old?.lastVersion ?? declared - 1) + to - from
  const firstVersion = old?.firstVersion ?? declared
  const offsets: number[] = []
  const keepsTail = old !== undefined && old.tailCount > 0 && old.tail.length + (to - from) * 3 <= tailBytesMax
  if (keepsTail) {
    table.read(slot, from, to, offsets)
    const tail = packTail(old.tail, old.lastOffset, offsets, 0)
    return { lastVersion, firstVersion, lastOffset: offsets.at(-1)!, tailCount: old.tailCount + offsets.length, tail }
  }
  if (old !== undefined) for (const offset of tailOffsets(old)) offsets.push(offset)
  table.read(slot, from, to, offsets)
  const rest = pushChunks(prefix, stream, lastVersion + 1 - offsets.length, offsets, puts)
  const tail = packTail(noBytes, -1, offsets, rest)
  return { lastVersion, firstVersion, lastOffset: offsets.at(-1)!, tailCount: offsets.length - rest, tail }
}

const noBytes = Buffer.alloc(0)

/** `tail`, which ends with offset `previous`, and then offsets[from …). */
function packTail(tail: Buffer, previous: number, offsets: readonly number[], from: number): Buffer {
  const bytes = Buffer.allocUnsafe(tail.length + (offsets.length - from) * varintBytesMax)
  tail.copy(bytes)
  return bytes.subarray(0, packOffsets(offsets, from, offsets.length, previous, bytes, tail.length))
}

/** Cuts chunks off the front of `offsets` until a tail's worth is left; answers where that begins. `version`: of the first offset. */
function pushChunks(
  prefix: Buffer,
  stream: string,
  version: number,
  offsets: readonly number[],
  puts: CheckpointPut[],
): number {
  let from = 0
  while (from < offsets.length) {
    const to = Math.min(offsets.length, from + chunkEntriesMax)
    const bytes = Buffer.allocUnsafe((to - from + 1) * varintBytesMax)
    const start = writeVarint(bytes, 0, to - from)
    const end = packOffsets(offsets, from, to, -1, bytes, start)
    if (to === offsets.length && end - start <= tailBytesMax) break
    puts.push({ key: chunkKey(prefix, stream, version + from), value: Buffer.from(bytes.subarray(0, end)) })
    from = to
  }
  return from
}
