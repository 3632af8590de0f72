/**
 * What an operator changes in a cluster: where replicas are, which brokers shall be rid of them, what copying may cost, and, when all replicas that
 * had everything are lost, which of the others becomes the truth. Each is a fact in the metadata that the controller acts upon.
 * Neighbours: isr-change.ts says what a change makes of a partition; the cluster commands call here.
 */
import assert from 'node:assert/strict'
import { PlayheadError } from '../protocol/errors.ts'
import { readClusterState } from './cluster-state.ts'
import type { ClusterState } from './cluster-state.ts'
import { targetReplicas } from './isr-change.ts'
import type { PartitionState } from './isr-change.ts'
import { isRegistered } from './isr-transaction.ts'
import type { SeenPartition } from './isr-transaction.ts'
import { metadataKeys } from './metadata-keys.ts'
import type { PartitionName } from './metadata-keys.ts'
import { writeRecord } from './metadata-records.ts'
import type { DrainingRecord } from './metadata-records.ts'
import type { Change } from './metadata-store.ts'
import { changePartition } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'
import { isrMinOf, isrMinSetOf, isrMinSetting } from './topic-facts.ts'

/** The partition grows to both sets, the new ones catch up, the old ones go. Throws unknownPartition, invalidArgument, unavailable. */
export async function reassignPartition(
  foundation: ChangeFoundation,
  name: PartitionName,
  target: readonly number[],
): Promise<SeenPartition> {
  const state = await readClusterState(foundation.store)
  const seen = state.partition(name) ?? noSuchPartition(name)
  const settings = state.topics.get(name.topicId)?.record.settings ?? {}
  const missing = target.filter((broker) => !state.sessions.has(broker) && !seen.state.replicas.includes(broker))
  const wrong = (found: string, wanted: string) => {
    const message = `${nameIn(state, name)}: found ${found}, wanted ${wanted}`
    return new PlayheadError('invalidArgument', message)
  }
  if (target.length === 0 || new Set(target).size !== target.length) {
    throw wrong(`replicas [${target.join(', ')}]`, 'at least one, and each once')
  }
  if (missing.length > 0)
    throw wrong(`new replicas on brokers ${missing.join(', ')} which are not there`, 'brokers that run')
  const leaving = target.filter((broker) => state.draining.get(broker)?.record.what === 'replicas')
  if (leaving.length > 0)
    throw wrong(
      `replicas on brokers ${leaving.join(', ')} which are to lose all of theirs`,
      'others, or the draining lifted first',
    )
  const isOwn = state.topics.get(name.topicId)?.record.internal === true
  if (isOwn && target.length < targetReplicas(seen.state).length)
    throw wrong(
      `${target.length} replicas, fewer than now`,
      "as many: the controller keeps three of Playhead's own topics",
    )
  if (target.length < Math.min(isrMinSetOf(settings) ?? 0, seen.state.isrMin)) {
    throw wrong(
      `${target.length} replicas, fewer than ${isrMinSetting} (${seen.state.isrMin})`,
      'as many; lower the setting first',
    )
  }
  // With the target in one change: between two, the controller would bring it in line with the replicas there are.
  const isrMin = isrMinOf(settings, target.length)
  const changed = await changePartition(foundation, name, { kind: 'reassign', target, isrMin })
  if (changed === undefined) return noSuchPartition(name)
  assert.deepEqual(targetReplicas(changed.state), target)
  return changed
}

/** Throws unknownPartition, notEnoughReplicas when those from before are not enough by themselves, unavailable. */
export async function cancelReassign(foundation: ChangeFoundation, name: PartitionName): Promise<SeenPartition> {
  const state = await readClusterState(foundation.store)
  const seen = await changePartition(foundation, name, { kind: 'cancelReassign', electable: state.live() })
  if (seen === undefined) return noSuchPartition(name)
  const { adding, removing, isrMin } = seen.state
  if (adding.length + removing.length === 0) return seen
  throw new PlayheadError(
    'notEnoughReplicas',
    `${nameIn(state, name)}: found fewer than ${isrMin} of the replicas from before in sync, wanted as many; start their brokers, or give it another target`,
  )
}

/**
 * The broker is to lose its leaderships (`leaders`, for a restart; lifted when it registers again) or all of its replicas (`replicas`, for good).
 * undefined lifts it. Throws invalidArgument for a broker that never was, unavailable.
 */
export async function drainBroker(
  foundation: ChangeFoundation,
  broker: number,
  what: DrainingRecord['what'] | undefined,
): Promise<void> {
  const state = await readClusterState(foundation.store)
  if (!state.brokers.has(broker)) {
    const known = [...state.brokers.keys()].join(', ')
    throw new PlayheadError('invalidArgument', `broker ${broker}: found no broker of that id, wanted one of ${known}`)
  }
  const key = metadataKeys.draining(broker)
  await change(
    foundation,
    what === undefined ? { kind: 'delete', key } : { kind: 'put', key, value: writeRecord({ what }) },
  )
}

/** Of what each broker copies to replicas that are being added to it; undefined = no limit. Throws invalidArgument for 0, unavailable. */
export async function setThrottle(foundation: ChangeFoundation, bytesPerSecond: number | undefined): Promise<void> {
  if (bytesPerSecond === 0) {
    const message = 'copying to new replicas: found a limit of 0 bytes per second, wanted at least 1, or none'
    throw new PlayheadError('invalidArgument', message)
  }
  const key = metadataKeys.throttle
  await change(
    foundation,
    bytesPerSecond === undefined
      ? { kind: 'delete', key }
      : { kind: 'put', key, value: writeRecord({ bytesPerSecond }) },
  )
}

/** Why a partition has no leader, and who could be made one, the best first: what an operator must see before `recoverPartition`. */
export function recoveryCandidates(state: PartitionState, live: readonly number[]): number[] {
  if (state.leader !== null) return []
  const inOrder = [...state.elr, ...state.isr, ...state.lastElr, ...state.replicas]
  return [...new Set(inOrder)].filter((broker) => live.includes(broker))
}

/**
 * Makes `leader`'s log the truth of a partition that nobody else can lead: committed events that it lacks are gone for good. Throws unknownPartition,
 * and invalidArgument when there is a leader, or that broker is not there or has no replica.
 */
export async function recoverPartition(
  foundation: ChangeFoundation,
  name: PartitionName,
  leader: number,
): Promise<SeenPartition> {
  const state = await readClusterState(foundation.store)
  const seen = state.partition(name) ?? noSuchPartition(name)
  const session = state.sessions.get(leader)
  const candidates = recoveryCandidates(seen.state, state.live())
  if (session === undefined || !candidates.includes(leader)) {
    const found = seen.state.leader === null ? `broker ${leader}` : `broker ${seen.state.leader} leading`
    const wanted =
      seen.state.leader === null ? `one of ${candidates.join(', ') || 'its replicas, running'}` : 'no leader'
    throw new PlayheadError('invalidArgument', `${nameIn(state, name)}: found ${found}, wanted ${wanted}`)
  }
  const isThere = isRegistered({ broker: leader, brokerEpoch: session.brokerEpoch })
  const changed = await changePartition(foundation, name, { kind: 'recoverUnclean', leader }, () => [isThere])
  if (changed === undefined) return noSuchPartition(name)
  if (changed.state.leader === leader) return changed
  const message = `${nameIn(state, name)}: found broker ${changed.state.leader} leading by now, wanted no leader; nothing was given up`
  throw new PlayheadError('invalidArgument', message)
}

/** Of a key that nobody else compares with: again until it is certain. */
async function change({ store, clock }: ChangeFoundation, one: Change): Promise<void> {
  for (let tries = 1; ; tries++) {
    const result = await store.transact({ compares: [], changes: [one] })
    if (result.outcome === 'done') return
    const reason = 'reason' in result ? result.reason : 'refused'
    if (tries === 3) throw new PlayheadError('unavailable', `${one.key}: found ${reason}, wanted an answer; try again`)
    await clock.yield()
  }
}

/** `carts/0`. */
function nameIn(state: ClusterState, { topicId, partition }: PartitionName): string {
  return `${state.topics.get(topicId)?.record.name ?? topicId}/${partition}`
}

function noSuchPartition({ topicId, partition }: PartitionName): never {
  throw new PlayheadError('unknownPartition', `partition ${topicId}/${partition}: found none, wanted an existing one`, {
    partition,
  })
}
