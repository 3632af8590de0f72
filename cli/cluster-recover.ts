/**
 * playhead cluster recover: when every replica that had all of a partition is lost, one of the others becomes the truth. Says first what vanishes with that,
 * as far as the brokers that are reached can tell, and asks.
 */
import type { ClusterStatus, PartitionStatus, ReplicaCopy } from '../client/index.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { confirm } from './confirmation.ts'
import type { Session } from './session.ts'
import { table, withUnit } from './text-table.ts'

export interface RecoverFlags {
  readonly partition: number
  readonly broker: number
  readonly yes?: boolean
}

export async function recover(session: Session, topic: string, flags: RecoverFlags): Promise<void> {
  const { partition, broker, yes = false } = flags
  const name = `${topic}/${partition}`
  const leaderEpoch = await session.connected(async (playhead) => {
    const status = await playhead.cluster.status({ topic })
    const found = status.partitions.find((each) => each.partition === partition)
    session.note(lossText(status, checked(found, name, broker), broker))
    if (!yes) {
      const question = `Make broker ${broker} the truth of ${name} and give up what it lacks`
      await confirm({ command: `cluster recover ${topic}`, name, question, otherwise: 'nothing given up' })
    }
    return playhead.cluster.recover(topic, partition, broker)
  })
  if (session.isJson) return session.print({ topic, partition, leader: broker, leaderEpoch })
  await session.printText(`broker ${broker} leads ${name} in epoch ${leaderEpoch}`)
}

/** Before anybody is asked to give something up. */
function checked(found: PartitionStatus | undefined, name: string, broker: number): PartitionStatus {
  if (found === undefined) {
    const message = `${name}: found no such partition, wanted an existing one; playhead cluster status shows them`
    throw new PlayheadError('unknownPartition', message)
  }
  const wrong = (text: string) => new PlayheadError('invalidArgument', `${name}: ${text}`)
  if (found.leader !== undefined)
    throw wrong(`found broker ${found.leader} leading, wanted no leader; there is nothing to recover`)
  if (!found.replicas.includes(broker))
    throw wrong(`found no replica on broker ${broker}, wanted one of ${found.replicas.join(', ')}`)
  return found
}

/** What is known of each replica, and what that says of choosing this one. */
export function lossText({ brokers }: ClusterStatus, partition: PartitionStatus, chosen: number): string {
  const { replicas, copies } = partition
  const copyOf = (broker: number) => copies.find((copy) => copy.broker === broker)
  const rows = replicas.map((broker) => {
    const copy = copyOf(broker)
    const isThere = brokers.some((each) => each.broker === broker && each.isThere)
    const place =
      copy === undefined ? ['?', '?', '?'] : [copy.lastEpoch, copy.logEndOffset, copy.highWatermark].map(String)
    return [String(broker), isThere ? 'there' : 'away', knownAs(partition, broker), ...place]
  })
  return [
    table(['broker', 'state', 'it was', 'last epoch', 'end', 'high watermark it knew'], rows),
    '',
    ...losses(partition, copyOf(chosen), chosen),
  ].join('\n')
}

function knownAs({ inSync, eligible, lastEligible }: PartitionStatus, broker: number): string {
  if (inSync.includes(broker)) return 'in sync: it had everything'
  if (eligible.includes(broker)) return 'eligible: it had everything'
  return lastEligible.includes(broker) ? 'the last that had everything, then damaged' : 'behind'
}

function* losses(partition: PartitionStatus, own: ReplicaCopy | undefined, chosen: number): Generator<string> {
  const { replicas, copies, lastEligible } = partition
  if (own === undefined) {
    yield `Broker ${chosen} cannot be asked: what vanishes is not known.`
    return
  }
  const others = copies.filter(({ broker }) => broker !== chosen && replicas.includes(broker))
  const committed = Math.max(own.logEndOffset, ...copies.map(({ highWatermark }) => highWatermark))
  if (committed > own.logEndOffset)
    yield `At least ${withUnit(committed - own.logEndOffset, 'acknowledged record')} from offset ${own.logEndOffset} on vanish.`
  for (const other of others.filter((each) => isFurther(each, own)))
    yield `Broker ${other.broker} has more: its log ends at ${other.logEndOffset} in epoch ${other.lastEpoch}. Consider it instead.`
  const unknown = replicas.filter((broker) => copies.every((copy) => copy.broker !== broker))
  if (unknown.length > 0)
    yield `What only broker ${unknown.join(', ')} had vanishes; how much that is, nobody here knows. A broker that comes back with its disk is better than this.`
  // Brokers that have been started again know nothing of what was committed: that none of them names a loss says nothing.
  yield lastEligible.includes(chosen)
    ? `Broker ${chosen} was one of the last that had everything: what its damage took vanishes (playhead topic describe names it).`
    : `Whatever was acknowledged while broker ${chosen} was not in sync vanishes, also where no broker knows of it any more.`
}

/** A later epoch counts more than a longer log: it holds all that was acknowledged in those before. */
function isFurther(left: ReplicaCopy, right: ReplicaCopy): boolean {
  return (
    left.lastEpoch > right.lastEpoch || (left.lastEpoch === right.lastEpoch && left.logEndOffset > right.logEndOffset)
  )
}
