/**
 * IndexCapture: writes the postings captured at one moment behind those in the checkpoint store, in slices, so that the event loop is never
 * held for long. Invariant: a stream's new chunks and its head go in one transaction, and offsets the stored head already covers are passed
 * over, and no transaction is begun before the one before it has succeeded. So a write that stops halfway, for whatever reason, leaves a store that
 * is right stream by stream and can simply be written again.
 * `indexedTo` moves with the last transaction only.
 * Neighbours: StreamIndex makes one, Log calls write() when everything captured is durable in the log.
 */
import assert from 'node:assert/strict'
import { BlockMerge, type MergeTarget, type Slice } from './block-merge.ts'
import type { CheckpointPut, CheckpointStore } from './checkpoint-store.ts'
import { encodeState, stateKey } from './index-keys.ts'
import { MergedStreams } from './merged-streams.ts'
import type { RecentPostings } from './recent-postings.ts'

export interface CaptureTarget extends MergeTarget {
  readonly store: CheckpointStore
  /** Called once, when the write is over. */
  onEnd(outcome: 'committed' | 'failed'): void
}

export class IndexCapture {
  /** Everything below this offset is in the capture or was in the store before. */
  readonly nextOffset: number
  readonly #indexedTo: number
  readonly #tables: readonly RecentPostings[]
  readonly #target: CaptureTarget
  /**
   * The transaction handed to the store last, while the next one is put together. Never two: one that fails before one that does not leaves blocks
   * cut at a place that the block before them still reaches beyond, and the next merge would put its old heads in front of the new ones.
   */
  #writing: Promise<void> = Promise.resolve()
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
      const slice = await this.#writeTables()
      await this.#target.store.write([...(slice?.puts ?? []), this.#state(this.nextOffset), ...extra])
      if (slice !== undefined) this.#written(slice)
      this.#target.onEnd('committed')
    } catch (error) {
      await Promise.allSettled([this.#writing])
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
  async #writeTables(): Promise<Slice | undefined> {
    if (this.#tables.length === 0) return undefined
    // All tables at once, so that a stream is read and written once however many segments it has events in.
    const merge = new BlockMerge(this.#target, await MergedStreams.of(this.#tables, this.#target.clock))
    const first = await merge.slice()
    let next = await merge.slice()
    if (first === undefined || next === undefined) return first
    first.puts.unshift(this.#state(this.#indexedTo))
    await this.#writeSlice(first)
    for (; next !== undefined; next = await merge.slice()) await this.#writeSlice(next)
    await this.#writing
    return undefined
  }

  /** The store has what was in a slice: so must the cache of heads, as far as it has them. */
  #written({ heads, headsLeftOut }: Slice): void {
    if (headsLeftOut)
      this.#target.heads.clear() // some may have come into it since, as they were before
    else this.#target.heads.updateAll(heads)
  }

  async #writeSlice(slice: Slice): Promise<void> {
    await this.#writing
    this.#writing = this.#target.store.write(slice.puts).then(() => this.#written(slice))
    this.#writing.catch(() => undefined) // whoever waits for it hears
  }

  #state(indexedTo: number): CheckpointPut {
    const hasStreams = this.#target.hasStreams || this.#tables.length > 0
    return {
      key: stateKey(this.#target.prefix),
      value: encodeState({ indexedTo, reachesTo: this.nextOffset, hasStreams }),
    }
  }
}
