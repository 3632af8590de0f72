/**
 * PartitionLimit: how many partitions the topics of one broker may have, all together: each takes a directory, open files and memory. Invariant: what
 * was found on disk at a start is never refused, however little is allowed now. TopicStore asks before it makes one; a topic of Playhead's own does not count.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { TopicFacts } from './topic.ts'

type Counted = Pick<TopicFacts, 'name' | 'partitions' | 'internal'>

export class PartitionLimit {
  readonly #max: number
  /** By topic, from before it is made until after it is deleted. */
  readonly #held = new Map<string, number>()
  #total = 0

  constructor(max: number) {
    this.#max = max
  }

  /** A topic that is there already. */
  found({ name, partitions, internal }: Counted): void {
    if (internal) return
    this.letGo(name)
    this.#held.set(name, partitions)
    this.#total += partitions
  }

  /** A topic that is to be made. Throws tooManyPartitions. */
  hold(topic: Counted): void {
    const wanted = this.#total + topic.partitions
    if (topic.internal || wanted <= this.#max) return this.found(topic)
    throw new PlayheadError(
      'tooManyPartitions',
      `${topic.name}: found ${this.#total} partitions in ${this.#held.size} topics, wanted at most ${this.#max} with ${topic.partitions} more; ` +
        'delete topics, or raise partitionsTotalMax (--partitions-total-max)',
      { limit: this.#max, partitions: this.#total },
    )
  }

  /** A topic that is gone, or was not made. */
  letGo(name: string): void {
    this.#total -= this.#held.get(name) ?? 0
    this.#held.delete(name)
  }
}
