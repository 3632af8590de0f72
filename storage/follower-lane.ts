/**
 * FollowerLane: the way of the leader's batches into a follower's log, one after the other in the order in which they came.
 * Invariant: a batch takes effect only behind the one before it, and nothing behind one that was refused until its sender begins again.
 * Called by Log.appendAsFollower.
 */
import { FollowerAppend } from './follower-append.ts'
import type { LeaderBatch } from './follower-append.ts'
import type { DecompressionMemory } from './decompression-memory.ts'

export interface FollowerLaneOptions {
  readonly decompression: DecompressionMemory
  /** What a batch of so many bytes must wait for; undefined = nothing. Throws when it never can. */
  readonly blocker: (batchBytes: number, beginsSegment: boolean | undefined) => Promise<void> | undefined
  /** Resolves when the epoch of a batch may be written; undefined = it may. */
  readonly beginEpoch: (epoch: number, startOffset: number) => Promise<void> | undefined
  /** Makes it take effect, synchronously. */
  readonly take: (append: FollowerAppend) => void
  /** Begins a new segment at the end of the log. */
  readonly roll: () => Promise<void>
}

export class FollowerLane {
  readonly #options: FollowerLaneOptions
  /** The last call; never rejects. */
  #last: Promise<void> = Promise.resolve()

  constructor(options: FollowerLaneOptions) {
    this.#options = options
  }

  /**
   * Resolves when all of them have taken effect; rejects with what refused one, and then none behind it has. `isCutBehind`: what comes next begins a segment
   * at the leader.
   */
  append(batches: readonly LeaderBatch[], isCutBehind: boolean): Promise<void> {
    const appending = this.#last.then(() => this.#appendAll(batches, isCutBehind))
    this.#last = appending.catch(() => undefined)
    return appending
  }

  /** Resolves when nothing is under way. */
  async drained(): Promise<void> {
    await this.#last
  }

  async #appendAll(batches: readonly LeaderBatch[], isCutBehind: boolean): Promise<void> {
    const { decompression, beginEpoch, blocker, take, roll } = this.#options
    for (const each of batches) {
      const append = await FollowerAppend.of(each, decompression)
      await beginEpoch(append.facts.leaderEpoch, append.facts.baseOffset)
      const wait = () => blocker(each.batch.length, each.beginsSegment)
      for (let waiting = wait(); waiting !== undefined; waiting = wait()) await waiting
      take(append)
    }
    if (isCutBehind) await roll()
  }
}
