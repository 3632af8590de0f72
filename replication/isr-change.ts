/**
 * The next state of one partition's replication: a pure function of the state in the metadata store and of what happened. Leader, controller
 * and operator's commands all change a partition through it, so that this is the one file to check. Answers the same object when nothing changes.
 * Invariants (of every state it answers, see test/replication/isr-change.test.ts):
 *   - the leader is in `isr`, or there is none; `isr` and `elr` are replicas and have no member in common; `lastElr` has none of either
 *   - `elr` has members only while `isr` has fewer than `isrMin`: then the high watermark stands still, so they keep having all that is committed
 *   - the leader epoch rises, by one, exactly when the leader changes; a new leader was in `isr` or `elr` (unless an operator gives data up)
 *   - who joins `isr` was let in by the leader, or was elected from `elr`
 * Neighbours: partition-record.ts writes a state down; isr-transaction.ts and controller.ts make transactions of it.
 */
import assert from 'node:assert/strict'

export interface PartitionState {
  /** Who has, or is to have, the partition; the first is the preferred leader. Broker ids. */
  readonly replicas: readonly number[]
  readonly leader: number | null
  readonly leaderEpoch: number
  /** In sync: an append is acknowledged once it is durable on each of them. */
  readonly isr: readonly number[]
  /** Eligible leader replicas: left `isr` when it was too small for anything to be acknowledged since. */
  readonly elr: readonly number[]
  /** Were the last in `elr` or `isr` and could no longer prove that they have all of it: what an operator may choose from when all else is gone. */
  readonly lastElr: readonly number[]
  /** `isr` must have this many for anything to be acknowledged. Here and not only with the topic: `elr` is right only for the value it was made under. */
  readonly isrMin: number
  /** Being moved to: replicas that the partition had not before. */
  readonly adding: readonly number[]
  /** Being moved away from: replicas that go once all others are in sync. */
  readonly removing: readonly number[]
  /** Where the log starts: records below it are given up. It goes back only where an operator gives data up. */
  readonly startOffset: number
  /** The last epoch begun by an operator who gave data up; followers of older epochs may truncate below their high watermark for it. 0 = never. */
  readonly uncleanEpoch: number
  /** Names the change that made this state: who does not know whether a transaction happened looks for it. */
  readonly nonce: string
}

export type PartitionEvent =
  /** By the leader: these do not keep up. */
  | { readonly kind: 'shrink'; readonly leader: number; readonly remove: readonly number[] }
  /** By the leader: these have all that is committed, and fetched it in this epoch. */
  | { readonly kind: 'expand'; readonly leader: number; readonly add: readonly number[] }
  /** By the controller: the sessions of these have ended. By a broker that stops: of itself. */
  | { readonly kind: 'brokersGone'; readonly gone: readonly number[]; readonly electable: readonly number[] }
  /** By the broker itself: its copy is damaged or shorter than it had said (`damaged`), or not there at all (`empty`). */
  | {
      readonly kind: 'replicaLost'
      readonly broker: number
      readonly left: 'damaged' | 'empty'
      readonly electable: readonly number[]
    }
  /** By the controller: there is no leader, and these have registered. */
  | { readonly kind: 'electAny'; readonly electable: readonly number[] }
  /** By the controller or the leader: another member of `isr` shall lead. */
  | { readonly kind: 'elect'; readonly leader: number; readonly electable: readonly number[] }
  /** `isrMin` is taken with it if it is lower: a majority of fewer replicas. */
  | { readonly kind: 'reassign'; readonly target: readonly number[]; readonly isrMin?: number }
  /** By the controller, once all of the target are in sync. */
  | { readonly kind: 'finishReassign'; readonly electable: readonly number[] }
  /** Back to the replicas from before. */
  | { readonly kind: 'cancelReassign'; readonly electable: readonly number[] }
  | { readonly kind: 'setIsrMin'; readonly isrMin: number }
  | { readonly kind: 'advanceLogStart'; readonly leader: number; readonly startOffset: number }
  /** By an operator: this replica's log becomes the truth; what it lacks is given up. */
  | { readonly kind: 'recoverUnclean'; readonly leader: number }

export interface NewPartition {
  readonly replicas: readonly number[]
  readonly isrMin: number
  readonly nonce: string
  /** Of a log that was there before its cluster: above every epoch in it, and where it starts. With it there is one replica. */
  readonly existing?: { readonly leaderEpoch: number; readonly startOffset: number }
}

/** Of a partition whose replicas all have all of it: none of them has anything, or there is one. */
export function newPartitionState({ replicas, isrMin, nonce, existing }: NewPartition): PartitionState {
  assert(replicas.length >= 1 && new Set(replicas).size === replicas.length && isrMin >= 1)
  assert(existing === undefined || replicas.length === 1)
  return {
    replicas,
    leader: replicas[0]!,
    leaderEpoch: existing?.leaderEpoch ?? 1,
    isr: replicas,
    elr: [],
    lastElr: [],
    isrMin,
    adding: [],
    removing: [],
    startOffset: existing?.startOffset ?? 0,
    uncleanEpoch: 0,
    nonce,
  }
}

/** `nonce` names the change, if there is one. */
export function next(state: PartitionState, event: PartitionEvent, nonce: string): PartitionState {
  const changed = nextWithoutNonce(state, event)
  return changed === state ? state : { ...changed, nonce }
}

/** What the replicas shall be once a reassignment is through; the replicas if there is none. */
export function targetReplicas({ replicas, removing }: PartitionState): number[] {
  return without(replicas, removing)
}

function nextWithoutNonce(state: PartitionState, event: PartitionEvent): PartitionState {
  switch (event.kind) {
    case 'shrink':
      return state.leader === event.leader ? leaveIsr(state, without(event.remove, [event.leader])) : state
    case 'expand':
      return state.leader === event.leader ? joinIsr(state, event.add) : state
    case 'brokersGone':
      return withLeader(leaveIsr(state, event.gone), without(event.electable, event.gone))
    case 'replicaLost':
      return withLeader(loseReplica(state, event.broker, event.left), without(event.electable, [event.broker]))
    case 'electAny':
      return withLeader(state, event.electable)
    case 'elect':
      return elect(state, event.leader, event.electable)
    case 'reassign':
      return startReassign(setIsrMin(state, Math.min(state.isrMin, event.isrMin ?? state.isrMin)), event.target)
    case 'finishReassign':
      return finishReassign(state, event.electable)
    case 'cancelReassign':
      return cancelReassign(state, event.electable)
    case 'setIsrMin':
      return setIsrMin(state, event.isrMin)
    case 'advanceLogStart':
      if (state.leader !== event.leader || event.startOffset <= state.startOffset) return state
      return { ...state, startOffset: event.startOffset }
    default:
      return recoverUnclean(state, event.leader)
  }
}

/** Who leaves an `isr` that is too small afterwards has all that is committed, now and as long as it stays too small. */
function leaveIsr(state: PartitionState, leaving: readonly number[]): PartitionState {
  const left = state.isr.filter((broker) => leaving.includes(broker))
  if (left.length === 0) return state
  const isr = without(state.isr, left)
  return settled({ ...state, isr, elr: [...state.elr, ...left] })
}

function joinIsr(state: PartitionState, joining: readonly number[]): PartitionState {
  const joined = state.replicas.filter((broker) => joining.includes(broker) && !state.isr.includes(broker))
  if (joined.length === 0) return state
  const isr = [...state.isr, ...joined]
  return settled({ ...state, isr, elr: without(state.elr, joined), lastElr: without(state.lastElr, joined) })
}

/** Not eligible for anything before it has caught up again. */
function loseReplica(state: PartitionState, broker: number, left: 'damaged' | 'empty'): PartitionState {
  const mayBeChosen = left === 'damaged'
  const wasComplete = state.isr.includes(broker) || state.elr.includes(broker)
  const wasLast = state.lastElr.includes(broker)
  if (!wasComplete && (mayBeChosen || !wasLast)) return state
  const lastElr = without(state.lastElr, [broker])
  if (mayBeChosen) lastElr.push(broker)
  return settled({ ...state, isr: without(state.isr, [broker]), elr: without(state.elr, [broker]), lastElr })
}

/** With enough in sync the high watermark may move: whoever is out of sync falls behind from then on. */
function settled(state: PartitionState): PartitionState {
  return state.isr.length >= state.isrMin ? { ...state, elr: [], lastElr: [] } : state
}

/** As it is when its leader is still in `isr`; otherwise with a new one: of `isr`, else of `elr`, in order of preference; else none. */
function withLeader(state: PartitionState, electable: readonly number[]): PartitionState {
  if (state.leader !== null && state.isr.includes(state.leader)) return state
  const from = (members: readonly number[]) => chosen(state, members, electable)
  const leader = from(state.isr) ?? from(state.elr) ?? null
  if (leader === state.leader) return state
  const led = { ...state, leader, leaderEpoch: state.leaderEpoch + 1 }
  return leader === null ? led : joinIsr(led, [leader])
}

/** The target's come first: who is to go soon should not lead now. */
function chosen(state: PartitionState, members: readonly number[], electable: readonly number[]): number | undefined {
  const inOrder = [...targetReplicas(state), ...state.removing]
  return inOrder.find((broker) => members.includes(broker) && electable.includes(broker))
}

function elect(state: PartitionState, leader: number, electable: readonly number[]): PartitionState {
  if (leader === state.leader || !state.isr.includes(leader) || !electable.includes(leader)) return state
  return { ...state, leader, leaderEpoch: state.leaderEpoch + 1 }
}

/**
 * A new target while one is under way takes its place: what was being added for that one goes at once, or if it is in sync already then with
 * those that are being removed.
 */
function startReassign(state: PartitionState, target: readonly number[]): PartitionState {
  if (target.length < state.isrMin || target.length === 0 || new Set(target).size !== target.length) return state
  const before = without(state.replicas, state.adding)
  const hasAll = [...state.isr, ...state.elr, ...state.lastElr]
  const unneeded = without(without(state.adding, target), hasAll)
  const removing = without(without(state.replicas, target), unneeded)
  const replicas = [...target, ...removing]
  const adding = without(target, before)
  if (same(replicas, state.replicas) && same(adding, state.adding) && same(removing, state.removing)) return state
  return { ...state, replicas, adding, removing }
}

function finishReassign(state: PartitionState, electable: readonly number[]): PartitionState {
  if (state.adding.length === 0 && state.removing.length === 0) return state
  const target = targetReplicas(state)
  if (!target.every((broker) => state.isr.includes(broker))) return state
  return narrowed(state, target, electable)
}

/** Only while those from before have enough in sync by themselves; else what is committed might be on too few of them. */
function cancelReassign(state: PartitionState, electable: readonly number[]): PartitionState {
  if (state.adding.length === 0 && state.removing.length === 0) return state
  const before = without(state.replicas, state.adding)
  if (state.isr.filter((broker) => before.includes(broker)).length < state.isrMin) return state
  return narrowed(state, before, electable)
}

/** To the replicas of `target`, of which enough are in sync. Nothing changes if none of these can lead. */
function narrowed(state: PartitionState, target: readonly number[], electable: readonly number[]): PartitionState {
  const isr = state.isr.filter((broker) => target.includes(broker))
  const narrow = settled({ ...state, replicas: target, isr, adding: [], removing: [] })
  assert(isr.length >= state.isrMin && narrow.elr.length === 0)
  const led = withLeader(narrow, electable)
  return led.leader === null && state.leader !== null ? state : led
}

function setIsrMin(state: PartitionState, isrMin: number): PartitionState {
  if (isrMin === state.isrMin || isrMin < 1 || isrMin > targetReplicas(state).length) return state
  return settled({ ...state, isrMin })
}

/** Only of a partition that nobody leads. Everyone else catches up from the one chosen, from wherever it stands. */
function recoverUnclean(state: PartitionState, leader: number): PartitionState {
  if (state.leader !== null || !state.replicas.includes(leader)) return state
  const leaderEpoch = state.leaderEpoch + 1
  // Its log may end before where the others had agreed to start.
  return {
    ...state,
    leader,
    leaderEpoch,
    isr: [leader],
    elr: [],
    lastElr: [],
    startOffset: 0,
    uncleanEpoch: leaderEpoch,
  }
}

function without(brokers: readonly number[], removed: readonly number[]): number[] {
  return brokers.filter((broker) => !removed.includes(broker))
}

function same(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((broker, place) => broker === right[place])
}
