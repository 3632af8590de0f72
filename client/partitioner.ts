/**
 * Partitioner: which partition a record goes to. By its key as the topic's layout says, so that all clients agree; without a key,
 * to one partition until its batch is full (sticky), so that batches are large.
 */
import { partitionOf } from '../protocol/murmur2.ts'
import type { TopicLayout } from './topic-state.ts'

export class Partitioner {
  readonly #layout: TopicLayout
  #sticky: number

  /** `start`: any integer ≥ 0, so that many producers do not all begin at partition 0. */
  constructor(layout: TopicLayout, start: number) {
    this.#layout = layout
    this.#sticky = start % layout.partitions
  }

  partition(key: string | Buffer | null): number {
    const { partitions, partitionBy } = this.#layout
    if (key === null) return this.#sticky
    return partitions === 1 ? 0 : partitionOf(key, partitions, partitionBy)
  }

  /** A batch of `partition` is full: records without a key go on elsewhere. */
  onBatchFull(partition: number): void {
    if (partition === this.#sticky) this.#sticky = (partition + 1) % this.#layout.partitions
  }
}
