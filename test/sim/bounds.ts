/** Where a partition starts and ends. Neighbours: a Session asks. */
import type { ConsistencyOptions, Topic } from '../../client/index.ts'

export interface Bounds {
  readonly partition: number
  readonly logStartOffset: number
  readonly highWatermark: number
}

/** As its leader says: in a cluster whoever could be reached has described it, and may be behind. */
export async function leadersBounds(topic: Topic, partition: number, asked: ConsistencyOptions): Promise<Bounds> {
  const [range] = await topic.replay({ partition, from: 'start', ...asked }).ranges()
  const { fromOffset, untilOffset } = range!
  return { partition, logStartOffset: fromOffset, highWatermark: untilOffset }
}
