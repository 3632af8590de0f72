/**
 * PartitionTotal: how many partitions the topics of a cluster may have, all together: every broker has a directory for each. Counted from what all have agreed
 * on and from what this broker is asked for meanwhile; topics of Playhead's own do not count. Brokers that are asked at the same time may go above
 * together by what they make just then: a limit that holds to the last partition would make every creation wait for every other.
 * Neighbours: ClusterNode asks it for each new topic; storage/partition-limit.ts is the same for a broker by itself.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { ClusterState } from './cluster-state.ts'

interface Counted {
  readonly name: string
  readonly partitions: number
  readonly internal?: boolean
}

export class PartitionTotal {
  readonly #max: number
  /** Admitted here, perhaps not in the metadata yet. */
  readonly #underWay = new Set<Counted>()

  constructor(max: number) {
    this.#max = max
  }

  /** Makes a topic with `create`, which calls back with what it has read of the cluster before it changes anything; that throws tooManyPartitions. */
  async creating<T>(topic: Counted, create: (admit: (state: ClusterState) => void) => Promise<T>): Promise<T> {
    try {
      return await create((state) => this.#admit(state, topic))
    } finally {
      this.#underWay.delete(topic)
    }
  }

  #admit(state: ClusterState, topic: Counted): void {
    if (topic.internal === true) return
    const counted = new Map<string, number>()
    for (const { name, partitions } of this.#underWay) counted.set(name, partitions)
    for (const { record } of state.topics.values()) if (!record.internal) counted.set(record.name, record.partitions)
    const total = [...counted.values()].reduce((sum, partitions) => sum + partitions, 0)
    if (total + topic.partitions > this.#max) {
      throw new PlayheadError(
        'tooManyPartitions',
        `${topic.name}: found ${total} partitions in ${counted.size} topics of the cluster, wanted at most ${this.#max} with ${topic.partitions} more; ` +
          'delete topics, or raise partitionsTotalMax (--partitions-total-max) of the brokers',
        { limit: this.#max, partitions: total },
      )
    }
    this.#underWay.add(topic)
  }
}
