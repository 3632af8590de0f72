/**
 * Where a partition's log starts is agreed on in the metadata before any replica acts upon it. Neighbours: the leader asks here, isr-change.ts says what becomes of the
 * partition; Replicas brings it about on every replica.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { isRegistered } from './isr-transaction.ts'
import type { BrokerEpoch } from './isr-transaction.ts'
import { changePartition } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'
import type { Partition } from './partition.ts'

/** Resolves with where it starts, which is `offset` or behind it. Throws notLeader when another one leads by now, unknownPartition, unavailable, timedOut. */
export async function advanceLogStart(
  foundation: ChangeFoundation,
  { topic, topicId, partition }: Partition,
  leader: BrokerEpoch,
  offset: number,
): Promise<number> {
  const event = { kind: 'advanceLogStart', leader: leader.broker, startOffset: offset } as const
  const seen = await changePartition(foundation, { topicId, partition }, event, () => [isRegistered(leader)])
  if (seen === undefined) {
    const message = `${topic}/${partition}: found no such partition any more, wanted an existing one`
    throw new PlayheadError('unknownPartition', message, { partition })
  }
  const { startOffset, leader: found, leaderEpoch } = seen.state
  if (found === leader.broker && startOffset >= offset) return startOffset
  const message = `${topic}/${partition}: found broker ${found ?? 'none'} leading in epoch ${leaderEpoch}, wanted this one (${leader.broker}) to move the start of the log; ask the leader`
  throw new PlayheadError('notLeader', message, { leaderEpoch, ...(found !== null && { leader: found }) })
}
