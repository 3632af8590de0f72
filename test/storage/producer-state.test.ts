/** ProducerState: duplicates, epochs, sequences and their circle, refusals, expiry; and that headers and snapshots tell the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { sequenceMax } from '../../protocol/limits.ts'
import {
  dedupeWindowBatches,
  namedProducerIdMin,
  type ProducerBatch,
  ProducerState,
  producerExpiryMs,
} from '../../storage/producer-state.ts'
import { SeededRandom } from './seeded-random.ts'

const batch = (baseSequence: number, recordCount = 1, producerEpoch = 0, producerId = 7): ProducerBatch => ({
  producerId,
  producerEpoch,
  baseSequence,
  recordCount,
})
const outOfOrder = (error: unknown) => isPlayheadError(error, 'outOfOrderSequence')
const oldEpoch = (error: unknown) => isPlayheadError(error, 'invalidProducerEpoch')

test('producer state: without a producer id nothing is checked or kept', () => {
  const state = new ProducerState(10)
  const anonymous = batch(-1, 5, -1, -1)
  assert.equal(state.check(anonymous), 'new')
  state.record(anonymous, 0, 1)
  state.refused(anonymous, 1)
  assert.equal(state.count, 0)
})

test('producer state: a producer nobody knows may begin with any sequence', () => {
  const state = new ProducerState(10)
  assert.equal(state.check(batch(12_345)), 'new')
  state.record(batch(12_345), 0, 1)
  assert.deepEqual(state.progress(7), { producerEpoch: 0, lastSequence: 12_345, lastOffset: 0 })
})

test('producer state: a batch that came before is a duplicate with its first offset and append time', () => {
  const state = new ProducerState(10)
  state.record(batch(0, 10), 100, 5)
  state.record(batch(10, 5), 200, 6)
  assert.deepEqual(state.check(batch(0, 10)), { baseOffset: 100, lastOffset: 109, appendTimeMs: 5 })
  assert.deepEqual(state.check(batch(10, 5)), { baseOffset: 200, lastOffset: 204, appendTimeMs: 6 })
  assert.equal(state.check(batch(15)), 'new')
  assert.equal(state.check(batch(99)), 'new', 'gaps forward are legal')
  for (const other of [batch(0, 9), batch(1, 9), batch(14, 2), batch(5, 1)])
    assert.throws(() => state.check(other), outOfOrder)
})

test(`producer state: the newest ${dedupeWindowBatches} batches are remembered, the one before is not`, () => {
  const state = new ProducerState(10)
  for (let sequence = 0; sequence <= dedupeWindowBatches; sequence++) state.record(batch(sequence), sequence, sequence)
  assert.throws(() => state.check(batch(0)), outOfOrder)
  for (const sequence of [1, 2, 500, dedupeWindowBatches]) {
    assert.deepEqual(state.check(batch(sequence)), {
      baseOffset: sequence,
      lastOffset: sequence,
      appendTimeMs: sequence,
    })
  }
})

test('producer state: a lower epoch is refused, a higher one starts afresh with any sequence', () => {
  const state = new ProducerState(10)
  state.record(batch(50, 1, 3), 0, 1)
  assert.throws(() => state.check(batch(51, 1, 2)), oldEpoch)
  assert.equal(state.check(batch(0, 1, 4)), 'new')
  state.record(batch(0, 1, 4), 1, 1)
  assert.throws(() => state.check(batch(50, 1, 3)), oldEpoch)
  assert.equal(state.check(batch(1, 1, 4)), 'new')
})

test('producer state: sequences wrap from 2^31 - 1 to 0', () => {
  const state = new ProducerState(10)
  state.record(batch(sequenceMax - 1, 4), 0, 1)
  assert.equal(state.progress(7)?.lastSequence, 1)
  assert.equal(state.check(batch(2)), 'new')
  assert.deepEqual(state.check(batch(sequenceMax - 1, 4)), { baseOffset: 0, lastOffset: 3, appendTimeMs: 1 })
  assert.throws(() => state.check(batch(1)), outOfOrder)
  assert.throws(() => state.check(batch(sequenceMax)), outOfOrder)
})

test('producer state: a refusal uses its sequences up; its retry is decided again, and then it is a duplicate', () => {
  const state = new ProducerState(10)
  state.record(batch(0), 0, 1)
  state.refused(batch(1, 3), 2)
  assert.equal(state.progress(7)?.lastSequence, 3)
  state.record(batch(4), 1, 3)
  assert.equal(state.check(batch(1, 3)), 'new')
  assert.throws(() => state.check(batch(2)), outOfOrder)
  state.record(batch(1, 3), 2, 4)
  assert.deepEqual(state.check(batch(1, 3)), { baseOffset: 2, lastOffset: 4, appendTimeMs: 4 })
  assert.equal(state.progress(7)?.lastSequence, 4)
})

test('producer state: a refusal in a new epoch shuts the old one out, but the snapshot still knows its batches', () => {
  const state = new ProducerState(10)
  state.record(batch(0), 0, 1)
  state.refused(batch(0, 1, 1), 2)
  assert.throws(() => state.check(batch(1)), oldEpoch)
  assert.deepEqual(state.progress(7), { producerEpoch: 1, lastSequence: 0, lastOffset: 0 })
  const restored = new ProducerState(10)
  restored.restore(state.snapshot())
  assert.deepEqual(restored.check(batch(0)), { baseOffset: 0, lastOffset: 0, appendTimeMs: 1 })
})

test('producer state: beyond producersMax the least recently appended is forgotten, named ones never', () => {
  const state = new ProducerState(3)
  for (let id = 0; id < 5; id++) state.record(batch(0, 1, 0, namedProducerIdMin + id), id, 1)
  for (let id = 0; id < 3; id++) state.record(batch(0, 1, 0, id), 10 + id, 2)
  state.record(batch(1, 1, 0, 0), 20, 3)
  state.record(batch(0, 1, 0, 3), 21, 3)
  assert.equal(state.progress(1), undefined)
  assert.deepEqual(
    [0, 2, 3].map((id) => state.progress(id)?.lastOffset),
    [20, 12, 21],
  )
  assert.equal(state.count, 3 + 5)
})

test('producer state: random producers expire 24 h after their last append; named ones keep their newest batch', () => {
  const state = new ProducerState(10)
  const named = namedProducerIdMin + 123
  state.record(batch(0, 1, 0, 1), 0, 1000)
  for (let sequence = 0; sequence < 10; sequence++) state.record(batch(sequence, 1, 0, named), 1 + sequence, 1000)
  state.refused(batch(1, 1, 0, 2), 1000)
  state.expire(1000 + producerExpiryMs - 1)
  assert.equal(state.progress(1)?.lastSequence, 0)
  state.expire(1000 + producerExpiryMs)
  assert.equal(state.progress(1), undefined)
  assert.equal(state.progress(2), undefined)
  assert.deepEqual(state.progress(named), { producerEpoch: 0, lastSequence: 9, lastOffset: 10 })
  assert.deepEqual(state.check(batch(9, 1, 0, named)), { baseOffset: 10, lastOffset: 10, appendTimeMs: 1000 })
  assert.throws(() => state.check(batch(8, 1, 0, named)), outOfOrder)
})

test('producer state: a snapshot cut off anywhere, or of another version, is damage and changes nothing', () => {
  const state = new ProducerState(10)
  for (let sequence = 0; sequence < 20; sequence++) state.record(batch(sequence * 3, 3), sequence * 3, sequence)
  const snapshot = state.snapshot()
  const before = snapshot.toString('hex')
  for (let bytes = 0; bytes < snapshot.length; bytes++) {
    assert.throws(
      () => state.restore(snapshot.subarray(0, bytes)),
      (error) => isPlayheadError(error, 'damagedData'),
    )
  }
  assert.throws(
    () => state.restore(Buffer.concat([snapshot, Buffer.alloc(1)])),
    (error) => isPlayheadError(error, 'damagedData'),
  )
  assert.throws(
    () => state.restore(Buffer.from([2, 0])),
    (error) => isPlayheadError(error, 'damagedData'),
  )
  assert.equal(state.snapshot().toString('hex'), before)
})

test('producer state: snapshot and the rest of the headers give what all headers give, whatever was refused (random)', () => {
  const random = SeededRandom.fresh()
  for (let round = 0; round < 30; round++) {
    const headers: { batch: ProducerBatch; offset: number; timeMs: number }[] = []
    const live = new ProducerState(4)
    let snapshot = live.snapshot()
    let covered = 0
    let [offset, timeMs] = [0, 1000]
    const next = new Map<number, number>()
    for (let step = 0; step < 400; step++) {
      timeMs += random.pick([0, 1, 1000, random.below(50) === 0 ? producerExpiryMs : 0])
      const producerId = random.pick([1, 2, 3, 4, 5, 6, namedProducerIdMin, namedProducerIdMin + 9])
      const baseSequence = next.get(producerId) ?? random.pick([0, sequenceMax - 5])
      const each = batch(baseSequence, 1 + random.below(5), random.below(20) === 0 ? 1 : 0, producerId)
      const after = (baseSequence + each.recordCount + random.pick([0, 0, 3])) % (sequenceMax + 1)
      try {
        if (live.check(each) !== 'new') assert.fail('never sent twice here')
      } catch (error) {
        assert(oldEpoch(error) || outOfOrder(error), `seed ${random.seed}: ${String(error)}`)
        continue
      }
      next.set(producerId, after)
      if (random.below(4) === 0) live.refused(each, timeMs)
      else {
        live.record(each, offset, timeMs)
        headers.push({ batch: each, offset, timeMs })
        offset += each.recordCount
      }
      if (random.below(30) === 0) {
        if (random.below(2) === 0) live.expire(timeMs)
        snapshot = live.snapshot()
        covered = headers.length
      }
    }
    const rebuilt = new ProducerState(4)
    for (const header of headers) rebuilt.record(header.batch, header.offset, header.timeMs)
    const restored = new ProducerState(4)
    restored.restore(snapshot)
    for (const header of headers.slice(covered)) restored.record(header.batch, header.offset, header.timeMs)
    for (const state of [live, rebuilt, restored]) state.expire(timeMs)
    const wanted = rebuilt.snapshot().toString('hex')
    assert.equal(restored.snapshot().toString('hex'), wanted, `seed ${random.seed}`)
    assert.equal(live.snapshot().toString('hex'), wanted, `seed ${random.seed}`)
  }
})

test('producer state: a batch whose append time is earlier than that of the one before it is taken in; time does not go back', () => {
  const state = new ProducerState(4)
  state.record(batch(0, 2), 0, 5000)
  state.record(batch(2, 2), 2, 1000)
  assert.deepEqual(state.check(batch(2, 2)), { baseOffset: 2, lastOffset: 3, appendTimeMs: 5000 })
  const restored = new ProducerState(4)
  restored.restore(state.snapshot())
  assert.equal(restored.snapshot().toString('hex'), state.snapshot().toString('hex'))
  assert.equal(restored.lastTimeMs, 5000)
})
