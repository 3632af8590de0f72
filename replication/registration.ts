/**
 * Registration: how a broker becomes one of the cluster, and the gate before it: not while an earlier one of its id is there or is still counted on by
 * an in-sync set, and not before replicas that it lost have been struck from those that count as complete. Tried until it is certain.
 * Invariants: of one id there is one broker at a time, with an epoch above all before; a broker that registers is in no in-sync set.
 * Neighbours: Session calls it with its lease; the controller fences; isr-change.ts strikes replicas.
 */
import { sleep } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { readClusterState } from './cluster-state.ts'
import type { ClusterState } from './cluster-state.ts'
import type { HeldLease } from './held-lease.ts'
import { metadataKeys } from './metadata-keys.ts'
import type { PartitionName } from './metadata-keys.ts'
import { readBroker, writeRecord } from './metadata-records.ts'
import type { BrokerRecord } from './metadata-records.ts'
import type { Change, TransactionResult } from './metadata-store.ts'
import { changePartition } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'

/** A replica of this broker that has not what it had said it has. */
export interface LostReplica extends PartitionName {
  /** `damaged`: some of it, or shorter than it was; `empty`: nothing. */
  readonly left: 'damaged' | 'empty'
}

export interface RegistrationOptions extends ChangeFoundation {
  readonly broker: number
  readonly record: BrokerRecord
  readonly lease: HeldLease
  readonly lost: readonly LostReplica[]
  readonly report: (level: 'info' | 'warn', message: string) => void
  readonly signal: AbortSignal
}

const pauseMs = 100
/** In lease times: how long somebody else under this id may take to go before it is plain that they stay. */
const waitLeases = 3

/**
 * Resolves with the broker's epoch. Throws brokerIdInUse, dataDirectoryMismatch, unavailable (also when the lease is lost meanwhile), and the
 * signal's reason.
 */
export async function register(options: RegistrationOptions): Promise<number> {
  const { store, clock, broker, lease, signal } = options
  const deadlineMs = clock.monotonicMs() + waitLeases * lease.ttlMs
  let hasStruck = false
  for (;;) {
    signal.throwIfAborted()
    if (lease.isLost) throw leaseLost(broker)
    const state = await readClusterState(store)
    const session = state.sessions.get(broker)
    if (session !== undefined) {
      const epoch = await ownEpoch(options, session.brokerEpoch)
      if (epoch !== undefined) return epoch
      await handleOther(options, state, deadlineMs)
    } else if (!state.gone().has(broker)) {
      if (!hasStruck) await strikeLost(options, state)
      hasStruck = true
      // Whatever comes of it, the next look tells; at once when it went well.
      if ((await attempt(options, state)) === 'done') continue
    }
    await sleep(clock, pauseMs, signal)
  }
}

/** The session's epoch when it is this broker's own, registered by an attempt whose answer was lost. */
async function ownEpoch({ store, broker, lease }: RegistrationOptions, epoch: number): Promise<number | undefined> {
  const { entry } = await store.get(metadataKeys.session(broker))
  return entry?.leaseId === lease.leaseId && entry.createRevision === epoch ? epoch : undefined
}

/**
 * Somebody is there under our id. An earlier run of this data directory at our own address is certainly over, since we hold the directory's
 * lock: its lease is ended. Anybody else is waited for, and left in peace if they stay.
 */
async function handleOther(options: RegistrationOptions, state: ClusterState, deadlineMs: number): Promise<void> {
  const { store, clock, broker, record, report } = options
  const { entry } = await store.get(metadataKeys.session(broker))
  if (entry === undefined) return
  const other = readBroker(entry)
  const isSamePlace = other.host === record.host && other.port === record.port
  const isBefore = other.runEpoch < record.runEpoch || other.runId === record.runId
  if (other.dataDirectoryId === record.dataDirectoryId && isSamePlace && isBefore) {
    report('info', `broker ${broker}: ends the session that it had before this one`)
    if (entry.leaseId !== undefined) await store.revokeLease(entry.leaseId)
    return
  }
  checkDirectory(options, state)
  if (clock.monotonicMs() < deadlineMs) return
  throw new PlayheadError(
    'brokerIdInUse',
    `broker ${broker}: found another one of this id running at ${other.host}:${other.port}, wanted none: ` +
      'give this one another --broker-id, or stop the other one',
    { broker, host: other.host, port: other.port },
  )
}

/** Throws dataDirectoryMismatch when the directory is known as that of a broker with another id. */
function checkDirectory({ broker, record }: RegistrationOptions, state: ClusterState): void {
  for (const [owner, { record: known }] of state.brokers) {
    if (owner === broker || known.dataDirectoryId !== record.dataDirectoryId) continue
    throw new PlayheadError(
      'dataDirectoryMismatch',
      `broker ${broker}: found the data directory of broker ${owner}, wanted its own: ` +
        `name the right directory with --data, or start it with --broker-id ${owner}`,
      { found: owner, wanted: broker },
    )
  }
}

/** Before it registers: nobody may elect, or count as complete, a replica that has not all of it. */
async function strikeLost(options: RegistrationOptions, state: ClusterState): Promise<void> {
  checkDirectory(options, state)
  const { broker, record, report } = options
  const known = state.brokers.get(broker)?.record
  const isOtherDirectory = known !== undefined && known.dataDirectoryId !== record.dataDirectoryId
  const isOlderCopy =
    known !== undefined &&
    !isOtherDirectory &&
    (known.runEpoch > record.runEpoch || (known.runEpoch === record.runEpoch && known.runId !== record.runId))
  if (isOtherDirectory)
    report(
      'warn',
      `broker ${broker}: registers with another data directory than before: all of its replicas are filled anew`,
    )
  if (isOlderCopy)
    report(
      'warn',
      `broker ${broker}: registers with an older copy of its data directory: none of its replicas counts as complete`,
    )
  const lost = new Map(
    options.lost.map((replica) => [metadataKeys.partition(replica.topicId, replica.partition), replica.left]),
  )
  for (const { topicId, partition, state: seen } of state.allPartitions()) {
    if (![...seen.isr, ...seen.elr, ...seen.lastElr].includes(broker)) continue
    const everywhere = isOtherDirectory ? 'empty' : isOlderCopy ? 'damaged' : undefined
    const left = everywhere ?? lost.get(metadataKeys.partition(topicId, partition))
    if (left === undefined) continue
    report('warn', `broker ${broker}: its replica of ${topicId}/${partition} is ${left} and counts as complete no more`)
    await changePartition(options, { topicId, partition }, { kind: 'replicaLost', broker, left, electable: [] })
  }
}

async function attempt(
  { store, broker, record, lease }: RegistrationOptions,
  state: ClusterState,
): Promise<TransactionResult['outcome']> {
  const value = writeRecord(record)
  const known = metadataKeys.broker(broker)
  const draining = state.draining.get(broker)
  const changes: Change[] = [
    { kind: 'put', key: known, value },
    { kind: 'put', key: metadataKeys.session(broker), value, leaseId: lease.leaseId },
  ]
  // It gave up its leaderships to be started again, and that has happened.
  if (draining?.record.what === 'leaders') changes.push({ kind: 'delete', key: metadataKeys.draining(broker) })
  const { outcome } = await store.transact({
    compares: [
      { key: metadataKeys.session(broker), modRevision: 0 },
      { key: known, modRevision: state.brokers.get(broker)?.brokerEpoch ?? 0 },
      { key: metadataKeys.fenced(broker), modRevision: state.fenced.get(broker)?.modRevision ?? 0 },
    ],
    changes,
  })
  return outcome
}

export function leaseLost(broker: number): PlayheadError {
  const message = `broker ${broker}: found its lease gone in the metadata store, wanted it kept; it registers again`
  return new PlayheadError('unavailable', message)
}
