/** RecentPostings and packed postings: round trips over the sizes at which slices and varints change. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import {
  countBelow,
  packOffsets,
  unpackOffsets,
  VarintReader,
  varintBytesMax,
  writeVarint,
} from '../../storage/postings.ts'
import { RecentPostings } from '../../storage/recent-postings.ts'
import { SeededRandom } from './seeded-random.ts'

test('recent postings: every number of events from 1 to 5,000, read whole, in part, and counted', () => {
  const random = SeededRandom.fresh()
  const postings = new RecentPostings()
  const model = new Map<string, number[]>()
  let offset = 2 ** 40
  for (let step = 0; step < 40_000; step++) {
    offset += 1 + random.below(3)
    const stream = random.below(8) === 0 ? 'hot' : `s${random.below(3000)}`
    postings.addStream(stream, offset)
    model.set(stream, [...(stream === 'hot' ? [] : (model.get(stream) ?? [])), offset])
    if (stream === 'hot') hot.push(offset)
  }
  model.set('hot', hot)
  assert.equal(postings.streams, model.size)
  assert.equal(postings.events, 40_000)
  assert.equal(postings.lastOffset, offset)
  for (const [stream, offsets] of model) {
    const slot = postings.slotOf(stream)
    assert.equal(postings.count(slot), offsets.length)
    assert.equal(postings.firstOffset(slot), offsets[0])
    assert.equal(postings.newestOffset(slot), offsets.at(-1))
    const from = random.below(offsets.length)
    const to = from + random.below(offsets.length - from + 1)
    const part: number[] = []
    postings.read(slot, from, to, part)
    assert.deepEqual(part, offsets.slice(from, to), `seed ${random.seed}: ${stream} ${from} to ${to}`)
    for (const limit of [0, offsets[from]!, offsets[from]! + 1, offset + 1]) {
      assert.equal(
        postings.countBelow(slot, limit),
        countBelow(offsets, limit),
        `seed ${random.seed}: ${stream} below ${limit}`,
      )
    }
  }
  assert.equal(postings.slotOf('nobody'), -1)
})
const hot: number[] = []

test('recent postings: about 100 bytes for each stream of one short name and one event', () => {
  const postings = new RecentPostings()
  for (let offset = 0; offset < 10_000; offset++) postings.addStream(`customer-${offset}`, offset)
  assert(postings.memoryBytes / 10_000 < 150, `found ${postings.memoryBytes / 10_000}`)
})

const damaged = (run: () => void) => assert.throws(run, (error) => isPlayheadError(error, 'damagedData'))
const edges = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 42 + 1, Number.MAX_SAFE_INTEGER]

test('packed postings: varints of every length, read back one after the other', () => {
  const bytes = Buffer.alloc(edges.length * varintBytesMax)
  let at = 0
  for (const value of edges) at = writeVarint(bytes, at, value)
  const reader = new VarintReader(bytes, 0, at)
  for (const value of edges) assert.equal(reader.next(), value)
  assert.throws(
    () => reader.next(),
    (error) => isPlayheadError(error, 'damagedData'),
  )
})

test('packed postings: offsets read back; cut off or with bytes behind them they are damage', () => {
  const bytes = Buffer.alloc(edges.length * varintBytesMax)
  const end = packOffsets(edges, 0, edges.length, -1, bytes, 0)
  const offsets: number[] = []
  unpackOffsets(bytes, 0, end, edges.length, offsets)
  assert.deepEqual(offsets, edges)
  for (let shorter = 0; shorter < end; shorter++) damaged(() => unpackOffsets(bytes, 0, shorter, edges.length, []))
  damaged(() => unpackOffsets(bytes, 0, end, edges.length - 1, []))
  damaged(() => unpackOffsets(Buffer.from([5, 0]), 0, 2, 2, []))
  damaged(() => unpackOffsets(Buffer.alloc(9, 0xff), 0, 9, 1, []))
})

test('packed postings: random bytes are decoded or damage, never anything else', () => {
  const random = SeededRandom.fresh()
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(
      Array.from({ length: random.below(20) }, () => random.pick([0, 1, 127, 128, 255, random.below(256)])),
    )
    try {
      const offsets: number[] = []
      unpackOffsets(bytes, 0, bytes.length, random.below(10), offsets)
      assert(
        offsets.every((offset, place) => Number.isSafeInteger(offset) && (place === 0 || offset > offsets[place - 1]!)),
      )
    } catch (error) {
      assert(isPlayheadError(error, 'damagedData'), `seed ${random.seed}: ${String(error)}`)
    }
  }
})
