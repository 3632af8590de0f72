import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPartitionState, next, targetReplicas } from '../../replication/isr-change.ts'
import type { PartitionEvent, PartitionState } from '../../replication/isr-change.ts'

/** Every event that anybody could bring, sensible or not. */
function* events(state: PartitionState, among: readonly number[]): Generator<PartitionEvent> {
  const sets = subsets(among)
  for (const leader of among) {
    for (const some of sets) {
      yield { kind: 'shrink', leader, remove: some }
      yield { kind: 'expand', leader, add: some }
      yield { kind: 'elect', leader, electable: some }
      for (const left of ['damaged', 'empty'] as const)
        yield { kind: 'replicaLost', broker: leader, left, electable: some }
    }
    yield { kind: 'advanceLogStart', leader, startOffset: 0 }
    yield { kind: 'recoverUnclean', leader }
  }
  for (const electable of sets) {
    for (const gone of sets) yield { kind: 'brokersGone', gone, electable }
    yield { kind: 'electAny', electable }
    yield { kind: 'finishReassign', electable }
    yield { kind: 'cancelReassign', electable }
    yield { kind: 'reassign', target: electable }
    yield { kind: 'reassign', target: electable.toReversed() }
    if (electable.length > 0) yield { kind: 'reassign', target: electable, isrMin: 1 }
  }
  for (let isrMin = 0; isrMin <= state.replicas.length + 1; isrMin++) yield { kind: 'setIsrMin', isrMin }
}

const sorted = (set: readonly number[]): number[] => set.toSorted((left, right) => left - right)

function subsets(of: readonly number[]): number[][] {
  return of.reduce<number[][]>((all, broker) => [...all, ...all.map((one) => [...one, broker])], [[]])
}

/** All that a state says but how often its leader has changed. Order counts in `replicas` only. */
function shapeOf(state: PartitionState): string {
  const { replicas, leader, isrMin } = state
  const sets = [state.isr, state.elr, state.lastElr, state.adding, state.removing].map((set) => sorted(set))
  return JSON.stringify([replicas, leader, isrMin, sets])
}

const isIn = (set: readonly number[]) => (broker: number) => set.includes(broker)
const isUnique = (set: readonly number[]) => new Set(set).size === set.length

function checkState(state: PartitionState): void {
  const { replicas, leader, isr, elr, lastElr, adding, removing, isrMin } = state
  for (const set of [replicas, isr, elr, lastElr, adding, removing]) assert.ok(isUnique(set), 'a broker twice')
  assert.ok(replicas.length > 0)
  assert.ok(leader === null || isr.includes(leader), 'the leader is in isr')
  assert.ok([...isr, ...elr, ...adding, ...removing].every(isIn(replicas)), 'all are replicas')
  assert.ok(lastElr.every(isIn(replicas)), 'lastElr are replicas')
  assert.ok(!elr.some(isIn(isr)), 'elr has none of isr')
  assert.ok(!lastElr.some(isIn([...isr, ...elr])), 'lastElr has none of either')
  assert.ok(isr.length < isrMin || elr.length + lastElr.length === 0, 'elr only while isr is too small')
  assert.ok(!adding.some(isIn(removing)), 'nothing both comes and goes')
  assert.ok(targetReplicas(state).length >= isrMin, 'the target can have enough in sync')
}

/** What one event may do, whichever state it meets. */
function checkStep(before: PartitionState, event: PartitionEvent, after: PartitionState): void {
  if (after === before) return
  assert.equal(after.nonce, 'changed')
  assert.equal(
    after.leaderEpoch,
    before.leaderEpoch + (after.leader === before.leader ? 0 : 1),
    'one epoch, one leader',
  )
  const complete = [...before.isr, ...before.elr]
  if (event.kind === 'recoverUnclean') {
    assert.equal(before.leader, null)
    assert.deepEqual([after.uncleanEpoch, after.isr], [after.leaderEpoch, [event.leader]])
    return
  }
  assert.equal(after.uncleanEpoch, before.uncleanEpoch)
  if (after.leader !== before.leader && after.leader !== null)
    assert.ok(complete.includes(after.leader), 'from isr or elr')
  const joined = after.isr.filter((broker) => !before.isr.includes(broker))
  if (event.kind === 'expand') assert.ok(joined.every(isIn(event.add)) && before.leader === event.leader)
  else
    assert.ok(
      joined.length === 0 || (joined.length === 1 && joined[0] === after.leader && before.elr.includes(joined[0])),
    )
  assert.ok(after.elr.every(isIn(complete)), 'who is eligible was complete')
  // While nothing can be acknowledged, nobody that is complete is forgotten but those that have lost their copy.
  const forgotten = complete.filter((broker) => ![...after.isr, ...after.elr].includes(broker))
  const mayGo = event.kind === 'replicaLost' ? [event.broker] : []
  if (after.isr.length < after.isrMin)
    assert.deepEqual(
      forgotten.filter((broker) => !mayGo.includes(broker)),
      [],
    )
  else assert.ok(after.isr.some(isIn(complete)) || event.kind === 'replicaLost', 'something complete is left')
}

function explore(
  from: readonly PartitionState[],
  eventsOf: (state: PartitionState) => Iterable<PartitionEvent>,
): { states: number; steps: number } {
  const seen = new Set(from.map(shapeOf))
  const open = [...from]
  let steps = 0
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    for (const event of eventsOf(state)) {
      const after = next(state, event, 'changed')
      steps++
      try {
        checkState(after)
        checkStep(state, event, after)
      } catch (error) {
        assert.fail(
          `${JSON.stringify(state)}\n+ ${JSON.stringify(event)}\n= ${JSON.stringify(after)}\n${String(error)}`,
        )
      }
      const shape = shapeOf(after)
      if (seen.has(shape)) continue
      seen.add(shape)
      open.push({ ...after, leaderEpoch: 1, uncleanEpoch: 0, nonce: '' })
    }
  }
  return { states: seen.size, steps }
}

/** The sensible ones among four brokers, with two targets that differ in one replica. */
function* sensibleEvents(state: PartitionState): Generator<PartitionEvent> {
  const all = [1, 2, 3, 4]
  const leader = state.leader ?? 1
  for (const broker of all) {
    const others = all.filter((other) => other !== broker)
    yield { kind: 'shrink', leader, remove: [broker] }
    yield { kind: 'expand', leader, add: [broker] }
    yield { kind: 'recoverUnclean', leader: broker }
    yield { kind: 'electAny', electable: [broker] }
    for (const electable of [all, others, [], [broker]]) {
      yield { kind: 'elect', leader: broker, electable }
      yield { kind: 'brokersGone', gone: [broker], electable }
      yield { kind: 'replicaLost', broker, left: 'damaged', electable }
      yield { kind: 'replicaLost', broker, left: 'empty', electable }
      yield { kind: 'finishReassign', electable }
      yield { kind: 'cancelReassign', electable }
    }
  }
  yield { kind: 'reassign', target: [1, 2, 4] }
  yield { kind: 'reassign', target: [1, 2, 3] }
}

const fresh = (replicas: readonly number[], isrMin: number) => newPartitionState({ replicas, isrMin, nonce: '' })

test('every state that any events lead to keeps the invariants (3 brokers, replication factors 1 to 3)', () => {
  const from = [[1], [1, 2], [1, 2, 3]].map((replicas) => fresh(replicas, 1))
  const { states, steps } = explore(from, (state) => events(state, [1, 2, 3]))
  assert.ok(states > 1_000 && steps > 100_000, `${states} states, ${steps} steps`)
})

test('the same with a fourth broker to move to (replication factor 3, 2 in sync wanted)', () => {
  const { states, steps } = explore([fresh([1, 2, 3], 2)], sensibleEvents)
  assert.ok(states > 500 && steps > 50_000, `${states} states, ${steps} steps`)
})

/** Applies the events in order and answers the last state. */
function following(state: PartitionState, ...list: readonly PartitionEvent[]): PartitionState {
  return list.reduce((now, event) => next(now, event, 'n'), state)
}

const all = [1, 2, 3, 4]

test('one after the other goes: the last two that were complete stay eligible, the first does not (3 replicas, 2 wanted)', () => {
  const two = following(fresh([1, 2, 3], 2), { kind: 'brokersGone', gone: [3], electable: all })
  assert.deepEqual([two.isr, two.elr, two.leader, two.leaderEpoch], [[1, 2], [], 1, 1])
  const one = following(two, { kind: 'brokersGone', gone: [1], electable: all })
  assert.deepEqual([one.isr, one.elr, one.leader, one.leaderEpoch], [[2], [1], 2, 2])
  const none = following(one, { kind: 'brokersGone', gone: [2], electable: [3, 4] })
  assert.deepEqual([none.isr, sorted(none.elr), none.leader, none.leaderEpoch], [[], [1, 2], null, 3])
  assert.equal(following(none, { kind: 'electAny', electable: [3] }), none)
  const back = following(none, { kind: 'electAny', electable: [1, 3] })
  assert.deepEqual([back.isr, back.elr, back.leader, back.leaderEpoch], [[1], [2], 1, 4])
  const two2 = following(back, { kind: 'expand', leader: 1, add: [3] })
  assert.deepEqual([two2.isr, two2.elr], [[1, 3], []])
})

test('a leader cannot take itself out, nor can anybody but the leader change who is in sync', () => {
  const state = fresh([1, 2, 3], 2)
  assert.equal(following(state, { kind: 'shrink', leader: 1, remove: [1] }), state)
  assert.equal(following(state, { kind: 'shrink', leader: 2, remove: [3] }), state)
  assert.deepEqual(following(state, { kind: 'shrink', leader: 1, remove: [1, 3] }).isr, [1, 2])
  assert.equal(following(state, { kind: 'expand', leader: 1, add: [4] }), state)
})

test('a damaged copy is remembered for an operator, an empty one is not; both lose what made them eligible', () => {
  const alone = following(fresh([1, 2], 2), { kind: 'brokersGone', gone: [2, 1], electable: [] })
  assert.deepEqual([alone.isr, alone.elr, alone.leader], [[], [1, 2], null])
  const damaged = following(alone, { kind: 'replicaLost', broker: 1, left: 'damaged', electable: [1] })
  assert.deepEqual([damaged.elr, damaged.lastElr, damaged.leader], [[2], [1], null])
  const empty = following(damaged, { kind: 'replicaLost', broker: 2, left: 'empty', electable: [1, 2] })
  assert.deepEqual([empty.elr, empty.lastElr, empty.leader], [[], [1], null])
  const wiped = following(empty, { kind: 'replicaLost', broker: 1, left: 'empty', electable: [1, 2] })
  assert.deepEqual([wiped.lastElr, wiped.leader], [[], null])
  const recovered = following(empty, { kind: 'recoverUnclean', leader: 1 })
  assert.deepEqual([recovered.isr, recovered.leader, recovered.uncleanEpoch], [[1], 1, recovered.leaderEpoch])
  assert.equal(following(recovered, { kind: 'recoverUnclean', leader: 2 }), recovered)
})

test('a lower number wanted in sync frees nobody to lead without having all of it (2 of 2 wanted, then 1)', () => {
  const small = following(fresh([1, 2], 2), { kind: 'shrink', leader: 1, remove: [2] })
  assert.deepEqual([small.isr, small.elr], [[1], [2]])
  const lowered = following(small, { kind: 'setIsrMin', isrMin: 1 })
  assert.deepEqual([lowered.isr, lowered.elr, lowered.isrMin], [[1], [], 1])
  assert.equal(following(lowered, { kind: 'setIsrMin', isrMin: 3 }), lowered)
})

test('a reassignment grows, waits for all of its target, then shrinks and moves the lead (1,2,3 to 4,2,3)', () => {
  const grown = following(fresh([1, 2, 3], 2), { kind: 'reassign', target: [4, 2, 3] })
  assert.deepEqual([grown.replicas, grown.adding, grown.removing, grown.leader], [[4, 2, 3, 1], [4], [1], 1])
  assert.equal(following(grown, { kind: 'finishReassign', electable: all }), grown)
  const caughtUp = following(grown, { kind: 'expand', leader: 1, add: [4] })
  assert.equal(following(caughtUp, { kind: 'finishReassign', electable: [1] }), caughtUp)
  const done = following(caughtUp, { kind: 'finishReassign', electable: all })
  assert.deepEqual([done.replicas, sorted(done.isr), done.adding, done.removing], [[4, 2, 3], [2, 3, 4], [], []])
  assert.deepEqual([done.leader, done.leaderEpoch], [4, 2])
})

test('a reassignment is cancelled while those from before have enough in sync (1,2,3 to 4,5,3)', () => {
  const grown = following(
    fresh([1, 2, 3], 2),
    { kind: 'reassign', target: [4, 5, 3] },
    { kind: 'expand', leader: 1, add: [4] },
  )
  assert.deepEqual(following(grown, { kind: 'cancelReassign', electable: all }).replicas, [3, 1, 2])
  const fewer = following(grown, { kind: 'shrink', leader: 1, remove: [2, 3] })
  assert.equal(following(fewer, { kind: 'cancelReassign', electable: all }), fewer)
})

test('a new target takes the place of the one under way: what had not caught up for that one goes at once', () => {
  const first = following(fresh([1, 2, 3], 2), { kind: 'reassign', target: [1, 2, 4] })
  const second = following(first, { kind: 'reassign', target: [1, 2, 5] })
  assert.deepEqual([second.replicas, second.adding, second.removing], [[1, 2, 5, 3], [5], [3]])
  const inSync = following(first, { kind: 'expand', leader: 1, add: [4] }, { kind: 'reassign', target: [1, 2, 5] })
  assert.deepEqual([sorted(inSync.replicas), inSync.adding, sorted(inSync.removing)], [[1, 2, 3, 4, 5], [5], [3, 4]])
  const back = following(first, { kind: 'reassign', target: [1, 2, 3] })
  assert.deepEqual([back.replicas, back.adding, back.removing], [[1, 2, 3], [], []])
})

test('fewer replicas than are wanted in sync are no target, unless fewer are wanted with it (1,2 to 2)', () => {
  const state = fresh([1, 2], 2)
  assert.equal(following(state, { kind: 'reassign', target: [2] }), state)
  const shrinking = following(state, { kind: 'reassign', target: [2], isrMin: 1 })
  assert.deepEqual([shrinking.replicas, shrinking.removing, shrinking.isrMin], [[2, 1], [1], 1])
  assert.equal(following(state, { kind: 'reassign', target: [2, 1], isrMin: 3 }).isrMin, 2)
})

test('the preferred leader leads only when it is in sync and there; the log start never goes back', () => {
  const state = following(fresh([1, 2], 1), { kind: 'brokersGone', gone: [1], electable: all })
  assert.equal(following(state, { kind: 'elect', leader: 1, electable: all }), state)
  const joined = following(state, { kind: 'expand', leader: 2, add: [1] })
  assert.equal(following(joined, { kind: 'elect', leader: 1, electable: [2] }), joined)
  assert.deepEqual(following(joined, { kind: 'elect', leader: 1, electable: all }).leaderEpoch, 3)
  const moved = following(joined, { kind: 'advanceLogStart', leader: 2, startOffset: 7 })
  assert.equal(moved.startOffset, 7)
  assert.equal(following(moved, { kind: 'advanceLogStart', leader: 2, startOffset: 6 }), moved)
})

test('a log that was there before its cluster keeps its epochs and its beginning (epoch 12, from offset 40)', () => {
  const state = newPartitionState({
    replicas: [3],
    isrMin: 1,
    nonce: 'n',
    existing: { leaderEpoch: 12, startOffset: 40 },
  })
  assert.deepEqual([state.leader, state.leaderEpoch, state.startOffset, state.isr], [3, 12, 40, [3]])
})
