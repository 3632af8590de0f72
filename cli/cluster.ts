/** playhead cluster status: who is there, who has what, and what is wrong with it. For people by default, JSON with --json. */
import type { ClusterStatus, PartitionStatus, ReachedBroker } from '../client/index.ts'
import { exitDone, exitFailed } from './failure-report.ts'
import { throttleText } from './cluster-throttle.ts'
import type { Session } from './session.ts'
import { table, withUnit } from './text-table.ts'

export async function clusterStatus(session: Session, { topic }: { readonly topic?: string }): Promise<number> {
  const status = await session.connected((playhead) => playhead.cluster.status(topic === undefined ? {} : { topic }))
  const health = healthOf(status)
  const exitCode = health.offline + health.underReplicated > 0 ? exitFailed : exitDone
  if (session.isJson) {
    const partitions = status.partitions.map((partition) => ({ ...partition, state: stateOf(partition) }))
    await session.print({ ...status, partitions, health })
  } else await session.printText(statusText(status))
  return exitCode
}

/** `offline`: nobody leads. `too few in sync`: nothing is acknowledged. A replica that is still being added is not missed. */
export type PartitionHealth = 'offline' | 'too few in sync' | 'under-replicated' | 'moving' | 'ok'

export function stateOf(partition: PartitionStatus): PartitionHealth {
  const { leader, inSync, inSyncMin, replicas, adding, removing } = partition
  if (leader === undefined) return 'offline'
  if (inSync.length < inSyncMin) return 'too few in sync'
  if (replicas.some((broker) => !inSync.includes(broker) && !adding.includes(broker))) return 'under-replicated'
  return adding.length + removing.length > 0 ? 'moving' : 'ok'
}

interface Health {
  readonly partitions: number
  readonly offline: number
  /** Those with too few in sync included. */
  readonly underReplicated: number
  readonly moving: number
}

function healthOf({ partitions }: ClusterStatus): Health {
  const states = partitions.map(stateOf)
  const count = (...wanted: PartitionHealth[]) => states.filter((state) => wanted.includes(state)).length
  return {
    partitions: partitions.length,
    offline: count('offline'),
    underReplicated: count('too few in sync', 'under-replicated'),
    moving: count('moving'),
  }
}

function statusText(status: ClusterStatus): string {
  const { clusterId, controller, brokers, partitions, copyBytesPerSecondMax } = status
  const throttled = throttleText(copyBytesPerSecondMax)
  const { offline, underReplicated, moving } = healthOf(status)
  const led = controller === undefined ? 'no controller now' : `controller is broker ${controller}`
  return [
    `cluster ${clusterId}, ${led}`,
    '',
    table(
      ['broker', 'address', 'rack', 'release', 'epoch', 'leads', 'replicas', 'state'],
      brokers.map((broker) => brokerCells(broker, partitions)),
    ),
    '',
    table(
      ['partition', 'leader', 'epoch', 'replicas', 'in sync', 'end', 'lag', 'state'],
      partitions.map((partition) => partitionCells(partition)),
    ),
    '',
    `${withUnit(partitions.length, 'partition')}: ${offline} offline, ${underReplicated} under-replicated, ${moving} moving`,
    ...(throttled === undefined ? [] : [throttled]),
  ].join('\n')
}

function brokerCells(broker: ReachedBroker, partitions: readonly PartitionStatus[]): (string | number)[] {
  const { broker: id, host, port, rack = '', release, brokerEpoch } = broker
  const leads = partitions.filter(({ leader }) => leader === id).length
  const has = partitions.filter(({ replicas }) => replicas.includes(id)).length
  return [id, `${host}:${port}`, rack, release, brokerEpoch, leads, has, brokerState(broker, has)]
}

function brokerState({ isThere, isReached, draining }: ReachedBroker, has: number): string {
  const words = [isThere ? 'there' : 'away']
  if (isThere && !isReached) words.push('does not answer')
  if (draining === 'replicas') words.push(has > 0 ? 'is being emptied' : 'is empty and gets nothing')
  if (draining === 'leaders') words.push('shall not lead')
  return words.join(', ')
}

/** As the leader says where it was reached. */
function partitionCells(partition: PartitionStatus): (string | number)[] {
  const { topic, leader, leaderEpoch, replicas, inSync, copies, adding, removing } = partition
  const end = copies.find(({ broker }) => broker === leader)?.logEndOffset
  const moves = [
    ...(adding.length > 0 ? [`adding ${adding.join(', ')}`] : []),
    ...(removing.length > 0 ? [`removing ${removing.join(', ')}`] : []),
  ]
  return [
    `${topic}/${partition.partition}`,
    leader === undefined ? 'nobody' : String(leader),
    leaderEpoch,
    replicas.join(', '),
    inSync.join(', '),
    end === undefined ? '?' : String(end),
    lagText(partition),
    [stateOf(partition), ...moves].join(', '),
  ]
}

/** `3: 1,204`: what each replica lacks, of those that lack something; `3: ?` where nobody knows. */
export function lagText({ leader, replicas, lags }: PartitionStatus): string {
  if (leader === undefined) return ''
  const behind = replicas
    .filter((broker) => broker !== leader)
    .map((broker) => [broker, lags.find((lag) => lag.broker === broker)?.records] as const)
    .filter(([, records]) => records !== 0)
  return behind.map(([broker, records]) => `${broker}: ${records?.toLocaleString('en-US') ?? '?'}`).join('; ')
}
