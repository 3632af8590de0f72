/** playhead cluster reassign: where the partitions of a topic are. Waits until they are there, or calls a move off. */
import type { ClusterStatus, PartitionStatus } from '../client/index.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { lagText } from './cluster.ts'
import { watchCluster } from './cluster-watch.ts'
import { UsageError } from './failure-report.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'
import { table } from './text-table.ts'

export interface ReassignFlags {
  readonly replicas?: readonly number[]
  readonly partition?: number
  readonly cancel?: boolean
  readonly wait: boolean
}

/** Of the partitions that are moved, in words. */
const partitionsNamedMax = 4

export async function reassign(session: Session, topic: string, flags: ReassignFlags): Promise<void> {
  const { replicas, cancel = false, partition: only, wait } = flags
  if ((replicas === undefined) !== cancel)
    throw new UsageError(
      `cluster reassign ${topic}: found ${cancel ? 'both' : 'neither'} of --replicas and --cancel, wanted one`,
    )
  const isWanted = ({ partition }: PartitionStatus) => only === undefined || partition === only
  const again = `the move goes on; playhead cluster status --topic ${topic} shows it, playhead cluster reassign ${topic} --cancel calls it off`
  const partitions = await interruptible(
    (signal) =>
      session.connected(async (playhead) => {
        const before = (await playhead.cluster.status({ topic })).partitions.filter(isWanted)
        if (before.length === 0) throw noSuchPartition(topic, only)
        for (const { partition } of before) {
          if (replicas === undefined) await playhead.cluster.cancelReassign(topic, partition, { signal })
          else await playhead.cluster.reassign(topic, partition, turned(replicas, before.length, partition), { signal })
        }
        const remains = (status: ClusterStatus) => movingText(status, status.partitions.filter(isWanted))
        const status = wait
          ? await watchCluster(session, playhead, { topic, remains }, signal)
          : await playhead.cluster.status({ topic })
        return status.partitions.filter(isWanted)
      }, signal),
    () => again,
  )
  if (session.isJson) return session.print({ topic, partitions })
  await session.printText(
    table(
      ['partition', 'leader', 'replicas', 'in sync', 'adding', 'removing'],
      partitions.map((one) => [
        `${topic}/${one.partition}`,
        one.leader === undefined ? 'nobody' : String(one.leader),
        ...[one.replicas, one.inSync, one.adding, one.removing].map((brokers) => brokers.join(', ')),
      ]),
    ),
  )
}

/** Of several partitions each has another first broker, so that they do not all want the same one to lead. */
export function turned(replicas: readonly number[], partitions: number, partition: number): number[] {
  if (partitions === 1) return [...replicas]
  const from = partition % replicas.length
  return [...replicas.slice(from), ...replicas.slice(0, from)]
}

function movingText({ brokers }: ClusterStatus, partitions: readonly PartitionStatus[]): string | undefined {
  const moving = partitions.filter(({ adding, removing }) => adding.length + removing.length > 0)
  if (moving.length === 0) return undefined
  const texts = moving.slice(0, partitionsNamedMax).map((partition) => {
    const { topic, adding, removing } = partition
    const away = adding.filter((broker) => brokers.find((each) => each.broker === broker)?.isThere !== true)
    const lag = lagText(partition)
    return [
      `${topic}/${partition.partition}: adding ${adding.join(', ') || 'none'}, removing ${removing.join(', ') || 'none'}`,
      ...(lag === '' ? [] : [`records to copy ${lag}`]),
      ...(away.length === 0 ? [] : [`broker ${away.join(', ')} is away`]),
      ...(partition.leader === undefined ? ['nobody leads it'] : []),
    ].join(', ')
  })
  const more = moving.length - texts.length
  return [...texts, ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
}

function noSuchPartition(topic: string, partition: number | undefined): PlayheadError {
  return new PlayheadError(
    'unknownPartition',
    `${topic}: found no partition ${partition ?? ''}, wanted an existing one; playhead cluster status --topic ${topic} shows them`,
  )
}
