/**
 * Replica judge: whether all replicas of a cluster that has come to rest have the same: the same high watermark, and below it the same committed batches,
 * byte for byte. Neighbours: cluster-simulation.ts asks it; what clients saw is judged by test/history.
 */
import { createHash } from 'node:crypto'
import type { Partition } from '../../../replication/partition.ts'
import type { Scheduler } from '../scheduler.ts'
import type { Fleet } from './fleet.ts'

const readBytes = 1 << 20

/** Resolves once every partition is led, with all of its replicas in sync, from where it was agreed to start, and as far as its leader. */
export async function atRest(scheduler: Scheduler, fleet: Fleet): Promise<void> {
  while (whyNotAtRest(fleet) !== undefined) await scheduler.sleep(100, 'not at rest')
}

/** In words; undefined: it is. */
export function whyNotAtRest(fleet: Fleet): string | undefined {
  for (const { topicId, partition, state } of fleet.state.allPartitions()) {
    const name = `${topicId}/${partition}`
    if (state.leader === null || state.isr.length < state.replicas.length) return `${name} is ${JSON.stringify(state)}`
    const leader = replicaOf(fleet, state.leader, topicId, partition)
    if (leader?.leading?.isSettled !== true) return `${name}: broker ${state.leader} does not lead it`
    const end = leader.log.logEndOffset
    for (const broker of state.replicas) {
      const replica = replicaOf(fleet, broker, topicId, partition)
      if (replica === undefined) return `${name}: broker ${broker} has none`
      if (replica.log.logStartOffset !== state.startOffset)
        return `${name}: the log of broker ${broker} starts at ${replica.log.logStartOffset}, agreed is ${state.startOffset}`
      if (replica.highWatermark !== end || replica.log.durableOffset !== end)
        return `${name}: broker ${broker} is at ${replica.highWatermark}, its leader's log ends at ${end}`
    }
  }
  return undefined
}

/** What is wrong with the replicas of a cluster at rest. */
export async function compareReplicas(fleet: Fleet): Promise<string[]> {
  const findings: string[] = []
  for (const { topicId, partition, state } of fleet.state.allPartitions()) {
    const texts = new Map<number, string>()
    for (const broker of state.replicas) {
      const replica = replicaOf(fleet, broker, topicId, partition)
      texts.set(broker, replica === undefined ? 'not there' : await digestOf(replica))
    }
    if (new Set(texts.values()).size > 1)
      findings.push(`${topicId}/${partition}: replicas differ: ${JSON.stringify([...texts])}`)
  }
  return findings
}

function replicaOf(fleet: Fleet, broker: number, topicId: string, partition: number): Partition | undefined {
  const member = fleet.members.find((each) => each.broker === broker)
  if (member?.machine.serves !== true) return undefined
  const topic = member.parts?.partitions.topics().find(({ id }) => id === topicId)
  return topic && member.parts?.partitions.replica(topicId, partition)
}

async function digestOf({ log, highWatermark }: Partition): Promise<string> {
  const hash = createHash('sha256')
  for (let offset = log.logStartOffset; offset < highWatermark; ) {
    const { batches, nextOffset, piece } = await log.read({ offset, maxBytes: readBytes, limitOffset: highWatermark })
    for (const batch of batches) hash.update(batch)
    piece?.letGo()
    if (nextOffset <= offset) return `nothing at ${offset}`
    offset = nextOffset
  }
  return `${log.logStartOffset} to ${highWatermark}: ${hash.digest('hex').slice(0, 16)}`
}
