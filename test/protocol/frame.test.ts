import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isPlayheadError } from '../../protocol/errors.ts'
import { FLAG_ERROR, FRAME_PREFIX_BYTES, FrameReader, encodeFrame } from '../../protocol/frame.ts'
import type { Frame } from '../../protocol/frame.ts'
import { mutated } from './arbitraries.ts'

const MiB = 1024 * 1024
const prefix = { version: 0, api: 10, flags: 0, correlation: 7 }

const frame: fc.Arbitrary<Frame> = fc.record(
  {
    version: fc.nat({ max: 255 }),
    api: fc.nat({ max: 255 }),
    flags: fc.nat({ max: 0xffff }),
    correlation: fc.nat({ max: 0xffff_ffff }),
    header: fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)),
    body: fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array)),
  },
  { noNullPrototype: true },
)

const bytesOf = ({ header, body, ...rest }: Frame): Buffer => Buffer.concat(encodeFrame(rest, header, [body]))

/** All frames in `bytes`, which arrive in pieces cut at `cuts`. */
function framesIn(bytes: Buffer, cuts: readonly number[], frameBytesMax = MiB): Frame[] {
  const reader = new FrameReader(frameBytesMax)
  const frames: Frame[] = []
  const ends = [...cuts.filter((cut) => cut < bytes.length), bytes.length].toSorted((a, b) => a - b)
  let at = 0
  for (const end of ends) {
    reader.push(Buffer.from(bytes.subarray(at, end)))
    at = end
    for (let next = reader.next(); next !== undefined; next = reader.next()) frames.push(next)
  }
  assert.ok(reader.waitingBytes >= 0)
  return frames
}

test('frame: any frames come back, however their bytes are cut into pieces', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.nat({ max: 900 }), { maxLength: 12 }),
      (frames, cuts) => {
        assert.deepEqual(framesIn(Buffer.concat(frames.map(bytesOf)), cuts), frames)
      },
    ),
  )
})

test('frame: one byte at a time, all pushed before any is read too', () => {
  const wanted: Frame[] = [
    { ...prefix, header: Buffer.from('head'), body: Buffer.from('body') },
    { ...prefix, flags: FLAG_ERROR, header: Buffer.alloc(0), body: Buffer.alloc(0) },
  ]
  const bytes = Buffer.concat(wanted.map(bytesOf))
  assert.deepEqual(framesIn(bytes, Array.from(bytes.keys())), wanted)
  const reader = new FrameReader(MiB)
  for (const byte of bytes) reader.push(Buffer.from([byte]))
  assert.equal(reader.waitingBytes, bytes.length)
  assert.deepEqual([reader.next(), reader.next(), reader.next()], [...wanted, undefined])
  assert.equal(reader.waitingBytes, 0)
})

test('frame: several frames in one chunk are slices of it, and the parts of a body are not copied on the way out', () => {
  const body = Buffer.from('a body')
  const parts = encodeFrame(prefix, Buffer.from('h'), [body, body])
  assert.equal(parts[1], body)
  assert.equal(parts[2], body)
  const chunk = Buffer.concat([...parts, ...parts])
  const reader = new FrameReader(MiB)
  reader.push(chunk)
  for (let count = 0; count < 2; count++) assert.equal(reader.next()?.body.buffer, chunk.buffer)
})

test('frame: a large one arriving in 64 KiB pieces is whole (5 MiB, a small one behind it)', () => {
  const body = Buffer.alloc(5 * MiB)
  for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(at, at)
  const wanted = [
    { ...prefix, header: Buffer.from('h'), body },
    { ...prefix, header: Buffer.alloc(0), body: Buffer.from('x') },
  ]
  const bytes = Buffer.concat(wanted.map(bytesOf))
  const cuts = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, index) => index * 65_536)
  assert.deepEqual(framesIn(bytes, cuts, 6 * MiB), wanted)
})

test('frame: memory grows with what arrives, not with what is claimed (100 readers, 64 MiB claimed, 5 bytes sent)', () => {
  const claim = Buffer.alloc(9)
  claim.writeUInt32LE(64 * MiB)
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 100 }, () => {
    const reader = new FrameReader(64 * MiB)
    reader.push(claim)
    assert.equal(reader.next(), undefined)
    return reader
  })
  assert.ok(process.memoryUsage().arrayBuffers - before <= readers.length * MiB + MiB)
})

test('frame: memory grows with what arrives (16 readers, 64 MiB claimed, 1.5 MiB sent)', () => {
  const claim = Buffer.alloc(1.5 * MiB)
  claim.writeUInt32LE(64 * MiB)
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 16 }, () => {
    const reader = new FrameReader(64 * MiB)
    for (let at = 0; at < claim.length; at += MiB / 2) {
      reader.push(claim.subarray(at, at + MiB / 2))
      assert.equal(reader.next(), undefined)
    }
    return reader
  })
  assert.ok(process.memoryUsage().arrayBuffers - before <= readers.length * 4 * MiB)
})

test('frame: a length beyond the limit is frameTooLarge as soon as its four bytes are there; one at the limit is taken', () => {
  const claim = Buffer.alloc(4)
  claim.writeUInt32LE(1001)
  const reader = new FrameReader(1000)
  reader.push(claim.subarray(0, 3))
  assert.equal(reader.next(), undefined)
  reader.push(claim.subarray(3))
  assert.throws(() => reader.next(), { code: 'frameTooLarge', details: { length: 1001, limit: 1000 } })
  const largest = { ...prefix, header: Buffer.alloc(88), body: Buffer.alloc(900) }
  assert.deepEqual(framesIn(bytesOf(largest), [500], 1000), [largest])
})

test('frame: a length below 12 and a header longer than the frame are malformedFrame', () => {
  for (const length of [0, 1, 11]) {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(length)
    assert.throws(() => framesIn(bytes, []), { code: 'malformedFrame' }, `length ${length}`)
  }
  const bytes = bytesOf({ ...prefix, header: Buffer.from('head'), body: Buffer.from('body') })
  bytes.writeUInt32LE(9, 12)
  assert.throws(() => framesIn(bytes, []), { code: 'malformedFrame' })
  assert.throws(() => framesIn(bytes, [FRAME_PREFIX_BYTES]), { code: 'malformedFrame' }, 'in two pieces')
  bytes.writeUInt32LE(0xffff_ffff, 12)
  assert.throws(() => framesIn(bytes, []), { code: 'malformedFrame' })
})

test('frame: what a browser or a TLS client would send is refused at once', () => {
  for (const text of ['GET / HTTP/1.1\r\n', '\x16\x03\x01\x02\x00\x01']) {
    assert.throws(() => framesIn(Buffer.from(text, 'latin1'), []), { code: 'frameTooLarge' })
  }
})

test('frame: random bytes and damaged frames give frames or a typed error (any pieces)', () => {
  const valid = Buffer.concat(
    [1, 2, 3].map((api) => bytesOf({ ...prefix, api, header: Buffer.alloc(api * 3), body: Buffer.alloc(20) })),
  )
  const bytes = fc.oneof(
    mutated(valid),
    fc.uint8Array({ maxLength: 100 }).map((array) => Buffer.from(array)),
  )
  fc.assert(
    fc.property(bytes, fc.array(fc.nat({ max: 120 }), { maxLength: 6 }), (input, cuts) => {
      try {
        for (const { header, body } of framesIn(input, cuts, 4096)) assert.ok(header.length + body.length <= 4096)
      } catch (error) {
        if (!isPlayheadError(error, 'malformedFrame') && !isPlayheadError(error, 'frameTooLarge')) throw error
      }
    }),
    { numRuns: 2000 },
  )
})

/** All frames in `bytes`, read in place as a transport does, in pieces of these sizes; taken late where `isLate` says so. */
function framesReadInPlace(bytes: Buffer, pieces: readonly { size: number; isLate: boolean }[]): Frame[] {
  const reader = new FrameReader(4 * MiB)
  const frames: Frame[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const { size, isLate } = pieces[turn % pieces.length]!
    const room = reader.room()
    assert.ok(room.length > 0)
    const count = Math.min(size, room.length, bytes.length - at)
    bytes.copy(room, 0, at, at + count)
    at += count
    reader.push(room.subarray(0, count))
    if (isLate && turn % 3 !== 0) continue // as after a pause: what has come is looked at later
    for (let next = reader.next(); next !== undefined; next = reader.next()) frames.push(next)
  }
  for (let next = reader.next(); next !== undefined; next = reader.next()) frames.push(next)
  return frames
}

test('frame: read in place, small and large ones in any pieces, some taken late: none is written over', () => {
  const sized = fc.oneof(fc.constant(3), fc.constant(900), fc.constant(70_000), fc.constant(300_000))
  const piece = fc.record({ size: fc.integer({ min: 1, max: 100_000 }), isLate: fc.boolean() })
  fc.assert(
    fc.property(
      fc.array(sized, { minLength: 1, maxLength: 12 }),
      fc.array(piece, { minLength: 1, maxLength: 8 }),
      (sizes, pieces) => {
        const frames = sizes.map((size, index) => ({
          ...prefix,
          correlation: index,
          header: Buffer.from([index]),
          body: Buffer.alloc(size, index + 1),
        }))
        // Small pieces of large frames take long: a few bytes at a time are tried with small frames above.
        const least = Math.ceil(Math.max(...sizes) / 100)
        const read = framesReadInPlace(
          Buffer.concat(frames.map(bytesOf)),
          pieces.map(({ size, isLate }) => ({ size: Math.max(size, least), isLate })),
        )
        assert.equal(read.length, frames.length)
        for (const [index, { correlation, body }] of read.entries()) {
          assert.equal(correlation, index)
          assert.ok(body.equals(frames[index]!.body), `frame ${index}`)
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('frame: what was made for a large one is given up when only small ones follow (16 MiB, then 100 of 20 bytes)', () => {
  const reader = new FrameReader(64 * MiB)
  const read = (bytes: Buffer): void => {
    for (let at = 0; at < bytes.length; ) {
      const room = reader.room()
      const count = bytes.copy(room, 0, at)
      at += count
      reader.push(room.subarray(0, count))
      while (reader.next() !== undefined);
    }
  }
  read(bytesOf({ ...prefix, header: Buffer.alloc(0), body: Buffer.alloc(16 * MiB) }))
  assert.ok(reader.room().length >= 16 * MiB, 'the next one may be as large')
  for (let count = 0; count < 100; count++) read(bytesOf({ ...prefix, header: Buffer.alloc(0), body: Buffer.alloc(4) }))
  assert.ok(reader.room().buffer.byteLength <= MiB, `found ${reader.room().buffer.byteLength} bytes`)
})
