/**
 * PartitionCleaning: what of a replicated log may be removed here, and how its start moves. Only the leader moves it, and only once the cluster's metadata say so: a start
 * that was told to anybody stays, whoever leads next. Each replica removes for itself.
 * Invariant: nothing that is not committed is removed or rewritten.
 * Neighbours: Partition has one, its log asks; advanceLogStart of log-start.ts is how it is agreed on.
 */
import type { LogCleaning } from '../storage/log-cleaning.ts'

/** Resolves with where the log starts once that is agreed on. */
export type AgreeOnStart = (offset: number) => Promise<number>

/** A partition, as far as it matters here. */
interface Replicated {
  readonly highWatermark: number
  /** Undefined while this broker does not lead. */
  readonly leading: { readonly reachedByAll: number } | undefined
}

export class PartitionCleaning implements LogCleaning {
  readonly #partition: Replicated
  /** Of the present leadership. */
  agree: AgreeOnStart | undefined

  constructor(partition: Replicated) {
    this.#partition = partition
  }

  get committedTo(): number {
    return this.#partition.highWatermark
  }

  get rewritableTo(): number {
    const { highWatermark, leading } = this.#partition
    return Math.min(highWatermark, leading?.reachedByAll ?? highWatermark)
  }

  get advanceStart(): AgreeOnStart | undefined {
    return this.#partition.leading === undefined ? undefined : this.agree
  }
}
