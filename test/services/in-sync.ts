/** Waits for the replicas of a topic's first partition. Used by tests and benchmarks of real clusters. */
import type { Playhead } from '../../client/index.ts'
import { sleep, systemClock } from '../../platform/clock.ts'

const lookMs = 50

/** Resolves once so many are in sync, and somebody leads them: who. */
export async function untilInSync(playhead: Playhead, topic: string, count: number): Promise<number> {
  for (;;) {
    const [{ inSync, leader } = {}] = (await playhead.admin.describeTopic(topic)).partitions
    if (inSync?.length === count && leader !== undefined) return leader.broker
    await sleep(systemClock, lookMs)
  }
}
