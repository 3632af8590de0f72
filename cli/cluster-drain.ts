/** playhead cluster drain: a broker without leaderships, or without anything. Waits until it is, and names what cannot move and why. */
import type { ClusterStatus, PartitionStatus, ReachedBroker } from '../client/index.ts'
import { systemClock } from '../platform/clock.ts'
import { UsageError, exitDone, exitFailed } from './failure-report.ts'
import { watchCluster } from './cluster-watch.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'
import { withUnit } from './text-table.ts'

export interface DrainFlags {
  readonly leadersOnly?: boolean
  readonly undo?: boolean
  readonly wait: boolean
}

/** When nothing has moved for so long, and nothing that is left can, it is given up. */
const stuckMs = 5_000
const namedMax = 20

/** Why a partition stays where it is; undefined = it can move. */
interface Kept {
  readonly name: string
  readonly reason: string | undefined
}

export async function drain(session: Session, broker: number, flags: DrainFlags): Promise<number> {
  const { leadersOnly = false, undo = false, wait } = flags
  if (leadersOnly && undo)
    throw new UsageError(`cluster drain ${broker}: found both of --leaders-only and --undo, wanted one`)
  const what = undo ? 'nothing' : leadersOnly ? 'leaders' : 'replicas'
  const isWatched = wait && what !== 'nothing'
  const kept = await interruptible(
    (signal) =>
      session.connected(async (playhead) => {
        await playhead.cluster.drain(broker, what, { signal })
        const keptNow = (status: ClusterStatus) => (leadersOnly ? ledBy(status, broker) : keptBy(status, broker))
        const patience = new Patience()
        const remains = (status: ClusterStatus) => {
          const left = keptNow(status)
          return left.length === 0 || patience.isOver(left) ? undefined : `${left.length} of its partitions to go`
        }
        return isWatched ? keptNow(await watchCluster(session, playhead, { remains }, signal)) : []
      }, signal),
    () => `it goes on; playhead cluster status shows it, playhead cluster drain ${broker} --undo ends it`,
  )
  const exitCode = kept.length === 0 ? exitDone : exitFailed
  if (session.isJson) await session.print({ broker, draining: what, remaining: kept })
  else await session.printText(drainedText(broker, { what, isWatched, kept }))
  return exitCode
}

/** Knows since when nothing has changed among what cannot move. */
class Patience {
  #left = ''
  #sinceMs = 0

  isOver(left: readonly Kept[]): boolean {
    const now = left.map(({ name }) => name).join(' ')
    const nowMs = systemClock.monotonicMs()
    if (now !== this.#left || left.some(({ reason }) => reason === undefined)) this.#sinceMs = nowMs
    this.#left = now
    return nowMs - this.#sinceMs >= stuckMs
  }
}

/** What it leads still. */
export function ledBy({ brokers, partitions }: ClusterStatus, broker: number): Kept[] {
  const canLead = new Set(brokers.filter((one) => one.isThere && one.draining === undefined).map((one) => one.broker))
  return partitions
    .filter(({ leader }) => leader === broker)
    .map((partition) => {
      const others = partition.replicas.filter((one) => one !== broker)
      const isMovable = partition.inSync.some((one) => one !== broker && canLead.has(one))
      const reason =
        others.length === 0 ? 'it has no other replica' : `none of its other replicas (${others.join(', ')}) can lead`
      return { name: nameOf(partition), reason: isMovable ? undefined : reason }
    })
}

/** What it has still. */
export function keptBy({ brokers, partitions }: ClusterStatus, broker: number): Kept[] {
  const staying = brokers.filter((one) => one.isThere && one.draining !== 'replicas')
  return partitions
    .filter(({ replicas }) => replicas.includes(broker))
    .map((partition) => ({ name: nameOf(partition), reason: whyKept(partition, { broker, brokers, staying }) }))
}

function whyKept(
  partition: PartitionStatus,
  {
    broker,
    brokers,
    staying,
  }: {
    readonly broker: number
    readonly brokers: readonly ReachedBroker[]
    readonly staying: readonly ReachedBroker[]
  },
): string | undefined {
  const { leader, replicas, removing, inSync } = partition
  if (leader === undefined) return 'nobody leads it, so that nobody can copy it'
  const target = replicas.filter((one) => !removing.includes(one))
  if (removing.includes(broker)) {
    const isThere = (one: number) => brokers.some((each) => each.broker === one && each.isThere)
    const away = target.filter((one) => !inSync.includes(one) && !isThere(one))
    return away.length === 0 ? undefined : `it moves once broker ${away.join(', ')}, which is away, has caught up`
  }
  if (staying.some((one) => !replicas.includes(one.broker))) return undefined
  const ids = staying.map((one) => one.broker).join(', ') || 'none'
  return `it has ${withUnit(target.length, 'replica')} and the brokers that stay are ${ids}: start another one, or give it fewer (playhead cluster reassign)`
}

function nameOf({ topic, partition }: PartitionStatus): string {
  return `${topic}/${partition}`
}

function drainedText(
  broker: number,
  { what, isWatched, kept }: { readonly what: string; readonly isWatched: boolean; readonly kept: readonly Kept[] },
): string {
  if (what === 'nothing') return `broker ${broker} is one like the others again`
  if (!isWatched) return `broker ${broker} is being emptied; playhead cluster status shows it`
  if (kept.length === 0)
    return what === 'leaders'
      ? `broker ${broker} leads nothing until it starts again`
      : `broker ${broker} has nothing any more`
  const more = kept.length - namedMax
  return [
    `broker ${broker} keeps ${withUnit(kept.length, 'partition')}:`,
    ...kept.slice(0, namedMax).map(({ name, reason = 'it moves still' }) => `  ${name}: ${reason}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ].join('\n')
}
