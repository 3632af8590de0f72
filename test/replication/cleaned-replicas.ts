/** Replicas whose logs are trimmed and compacted, and what they show. For tests. */
import { systemClock } from '../../platform/clock.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryFileSystem } from '../storage/memory-file-system.ts'
import { group, sealed, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'
import type { Replica } from './replica-group.ts'

export const smallSegments = { 'segment.bytes': String(1 << 20) }
export const compacted = { ...smallSegments, 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' }
export const streams = 7
export const big = 'x'.repeat(100_000)

/** Events of seven streams in turn, ten to a segment. */
export async function append({ partition }: Replica, from: number, to: number): Promise<void> {
  for (let event = from; event < to; event++)
    await partition.append(group([`stream-${event % streams}=${event}:${big}`]))
}

/** What readers are shown: where the log starts, and of each stream the versions and numbers of its events, and the last version. */
export async function shown(log: Log): Promise<string[]> {
  const found = [`from ${log.logStartOffset}`]
  const limitOffset = log.logEndOffset
  for (let place = 0; place < streams; place++) {
    const stream = `stream-${place}`
    const page = await log.readStream({ stream, limit: 1_000, backwards: false, maxBytes: 1 << 30, limitOffset })
    const events = page.records.map(({ value }, at) => `${page.versions[at]}=${String(value).split(':')[0]}`)
    found.push(`${stream}: ${events.join(' ')}, last ${log.streamInfo(stream, limitOffset).lastVersion}`)
  }
  return found
}

/** The broker comes back with an empty disk, or is there for the first time. */
export async function openEmpty(replicas: ReplicaGroup, broker: number): Promise<Replica> {
  replicas.disks.set(broker, new MemoryFileSystem())
  const replica = await replicas.open(broker)
  await replicas.apply()
  return replica
}

export async function untilLike(follower: Replica, leader: Replica): Promise<void> {
  await until(() => follower.partition.highWatermark === leader.partition.log.logEndOffset)
}

/** Where what was compacted ends: with a segment. */
export function rewritten({ partition }: Replica): number {
  return partition.log.compaction.compactedTo
}

/** The only one in sync is started again, and leads in another epoch. */
export async function leadsAgain(replicas: ReplicaGroup, broker: number): Promise<Replica> {
  await replicas.kill(broker)
  await replicas.happen({ kind: 'brokersGone', gone: [broker], electable: [] })
  await replicas.open(broker)
  await replicas.happen({ kind: 'electAny', electable: [broker] })
  return replicas.leader
}

/** Compacts what may be. */
export async function compact({ partition: { log } }: Replica): Promise<void> {
  await log.files.roll()
  await sealed(log)
  await log.compaction.run(() => systemClock.yield())
}

/** Brokers 1 and 2; the records below 11 are gone at the leader, with the first segment, and broker 2 is away. */
export async function startTrimmed(): Promise<ReplicaGroup> {
  const replicas = await ReplicaGroup.start([1, 2], 1, undefined, { topicSettings: smallSegments })
  const { leader } = replicas
  await append(leader, 0, 45)
  await sealed(leader.partition.log)
  await leader.partition.deleteRecords(11)
  await leader.partition.log.retention.letGo()
  await replicas.kill(2)
  await replicas.untilInSync([1])
  return replicas
}
