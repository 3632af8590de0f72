import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameReader, encodeFrame } from '../../protocol/frame.ts'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import { KiB, MiB } from '../../protocol/limits.ts'

test('frame memory: a piece is used again when everyone who held it has let go, not before', () => {
  const memory = new FrameMemory(4 * MiB)
  const first = memory.take(200 * KiB)
  assert.equal(first.bytes.length, 256 * KiB)
  first.hold()
  first.letGo()
  const second = memory.take(256 * KiB)
  assert.notEqual(second.bytes, first.bytes)
  first.letGo()
  assert.equal(memory.take(129 * KiB).bytes, first.bytes)
  assert.throws(() => first.letGo(), /more often/)
  assert.throws(() => first.hold(), /nobody may hold/)
})

test('frame memory: no more is kept than allowed, and no small pieces', () => {
  const memory = new FrameMemory(3 * MiB)
  const pieces = Array.from({ length: 3 }, () => memory.take(1.5 * MiB))
  assert.equal(pieces[0]!.bytes.length, 2 * MiB)
  for (const piece of pieces) piece.letGo()
  const kept = new Set(pieces.map(({ bytes }) => bytes))
  assert.equal(Array.from({ length: 3 }, () => memory.take(2 * MiB)).filter(({ bytes }) => kept.has(bytes)).length, 1)
  const small = memory.take(16 * KiB)
  small.letGo()
  assert.notEqual(memory.take(16 * KiB).bytes, small.bytes)
})

test('frame memory: pieces of a size that nobody asks for any more make room for those that are asked for', () => {
  const memory = new FrameMemory(8 * MiB)
  const burst = Array.from({ length: 4 }, () => memory.take(4 * MiB))
  for (const piece of burst) piece.letGo()
  let again = 0
  const seen = new Set<Buffer>()
  for (let round = 0; round < 50; round++) {
    const piece = memory.take(256 * KiB)
    if (seen.has(piece.bytes)) again++
    seen.add(piece.bytes)
    piece.letGo()
  }
  assert.equal(again, 49)
})

test('frame memory: a reader holds the piece it fills, and each frame the piece it lies in, wherever the cuts between the reads are', () => {
  const memory = new FrameMemory(64 * MiB)
  const reader = new FrameReader(4 * MiB, memory)
  const sent = Buffer.concat(
    Array.from({ length: 200 }, (_, place) => {
      const body = Buffer.alloc((place * 7919) % 40_000, place)
      return Buffer.concat(encodeFrame({ version: 1, api: 1, flags: 0, correlation: place }, Buffer.from('h'), [body]))
    }),
  )
  const waiting: { place: number; body: Buffer; letGo: () => void }[] = []
  let count = 0
  for (let at = 0; at < sent.length; ) {
    const room = reader.room()
    const read = sent.copy(room, 0, at, Math.min(sent.length, at + 1 + ((at * 31) % 30_000)))
    at += read
    reader.push(room.subarray(0, read))
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      const { body, piece } = frame
      waiting.push({ place: frame.correlation, body, letGo: () => piece?.letGo() })
      count++
    }
    // Let go of in another order than they came, some of them late.
    while (waiting.length > 20) {
      const [one] = waiting.splice((at * 17) % waiting.length, 1)
      assert.ok(one!.body.equals(Buffer.alloc((one!.place * 7919) % 40_000, one!.place)), `frame ${one!.place}`)
      one!.body.fill(0xdd)
      one!.letGo()
    }
  }
  assert.equal(count, 200)
})
