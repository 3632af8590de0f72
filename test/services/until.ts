/** Waits for what comes true in a real cluster, and says what did not. Used by tests and benchmarks of real clusters. */
import assert from 'node:assert/strict'
import type { Playhead } from '../../client/index.ts'
import { sleep, systemClock } from '../../platform/clock.ts'

const lookMs = 50
const waitMsMax = 180_000

/** Throws, naming it, what does not hold after three minutes. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const beganMs = systemClock.monotonicMs()
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() - beganMs < waitMsMax, `not after ${waitMsMax} ms: ${what}`)
    await sleep(systemClock, lookMs)
  }
}

/** Resolves once so many are in sync at a topic's first partition, and somebody leads them: who. */
export async function untilInSync(playhead: Playhead, topic: string, count: number): Promise<number> {
  let leading: number | undefined
  await until(`${count} replicas of ${topic} in sync`, async () => {
    const [{ inSync, leader } = {}] = (await playhead.admin.describeTopic(topic)).partitions
    leading = inSync?.length === count ? leader?.broker : undefined
    return leading !== undefined
  })
  return leading!
}
