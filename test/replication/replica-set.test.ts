import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPartitionState } from '../../replication/isr-change.ts'
import { ReplicaSet } from '../../replication/replica-set.ts'

function leading(highWatermark: number, nowMs = () => 0, durableOffset = () => 20): ReplicaSet {
  const state = { ...newPartitionState({ replicas: [1, 2, 3], isrMin: 2, nonce: 'n' }), isr: [1, 2] }
  return new ReplicaSet({
    self: 1,
    seen: { state, modRevision: 1 },
    startOffset: 10,
    highWatermark,
    durableOffset,
    nowMs,
    lagMsMax: 1_000,
    onHighWatermark: () => undefined,
    onConfirmed: () => undefined,
  })
}

for (const [what, highWatermark, least] of [
  ['all that is committed', 15, 15],
  ['all from before the epoch', 0, 10],
] as const) {
  test(`replica set: who is let in sync has ${what}`, () => {
    const set = leading(highWatermark)
    set.heard({ broker: 3, brokerEpoch: 7 }, least - 1)
    assert.deepEqual(set.caughtUp, [])
    set.heard({ broker: 3, brokerEpoch: 7 }, least)
    assert.deepEqual(set.caughtUp, [{ broker: 3, brokerEpoch: 7 }])
  })
}

test('replica set: one that has everything and is silent is put out of sync once, and let in when it says something again', () => {
  let now = 0
  const set = leading(20, () => now)
  const { state } = set.seen
  set.heard({ broker: 2, brokerEpoch: 6 }, 20)
  now = 1_001
  assert.deepEqual(set.lagging, [2])
  set.observe({ state: { ...state, isr: [1] }, modRevision: 2 })
  assert.deepEqual(set.caughtUp, [])
  now = 5_000
  set.heard({ broker: 2, brokerEpoch: 6 }, 20)
  assert.deepEqual(set.caughtUp, [{ broker: 2, brokerEpoch: 6 }])
})

test('replica set: one that is always a little behind, and says so more often than it gets on, keeps up; one that falls behind does not', () => {
  for (const [lagOffsets, lagging] of [
    [250, []],
    [5_000, [2]],
  ] as const) {
    let now = 0
    const leaderHas = () => 20 + now
    const set = leading(20, () => now, leaderHas)
    for (; now < 4_000; now += 50) {
      // What is on its disk moves every 100 ms; the words between say nothing new.
      const durableOffset = Math.max(0, leaderHas() - lagOffsets - (now % 100))
      set.heard({ broker: 2, brokerEpoch: 6 }, durableOffset)
    }
    assert.deepEqual(set.lagging, lagging, `${lagOffsets} offsets behind`)
  }
})

test('replica set: one that was moved away and back in one epoch, seen or not, counts only for what it says from then on', () => {
  for (const isSeen of [true, false]) {
    const set = leading(15)
    const { state } = set.seen
    set.heard({ broker: 3, brokerEpoch: 7 }, 15)
    if (isSeen) set.observe({ state: { ...state, replicas: [1, 2] }, modRevision: 2 })
    set.observe({ state: { ...state, adding: [3] }, modRevision: 3 })
    assert.deepEqual(set.caughtUp, [])
    set.heard({ broker: 3, brokerEpoch: 7 }, 0)
    assert.deepEqual(set.caughtUp, [])
    set.heard({ broker: 3, brokerEpoch: 7 }, 15)
    assert.deepEqual(set.caughtUp, [{ broker: 3, brokerEpoch: 7 }])
  }
})

test('replica set: while the store has not answered whether another is let in, nothing is committed without it; nor without one who is put out', () => {
  for (const [what, isr, proposed] of [
    ['let in', [1, 2], [1, 2, 3]],
    ['put out', [1, 2, 3], [1, 2]],
  ] as const) {
    let leaderHas = 20
    const set = leading(20, undefined, () => leaderHas)
    set.observe({ state: { ...set.seen.state, isr: [...isr] }, modRevision: 2 })
    for (const broker of [2, 3]) set.heard({ broker, brokerEpoch: 6 }, 20)
    const { state } = set.seen
    set.propose({ ...state, isr: [...proposed], nonce: 'next' })
    leaderHas = 30
    set.heard({ broker: 2, brokerEpoch: 6 }, 30)
    assert.equal(set.highWatermark, 20, what)
    set.settle({ state: { ...state, isr: [1, 2] }, modRevision: 3 }) // and it has not come to be, or has
    assert.equal(set.highWatermark, 30, what)
  }
})
