/** The bytes of a segment file: golden ones, flipped ones, and the sparse indexes beside them. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isPlayheadError } from '../../protocol/errors.ts'
import { crc32c } from '../../protocol/crc32c.ts'
import { encodeRecordBatch, stampBatch } from '../../protocol/record-batch.ts'
import { OffsetIndex } from '../../storage/offset-index.ts'
import {
  baseOffsetOfFile,
  decodeSegmentHeader,
  encodeSegmentHeader,
  FRAME_BYTES,
  frameAppendTime,
  frameBatchBytes,
  frameFloor,
  frameProblem,
  SEGMENT_HEADER_BYTES,
  segmentFileName,
  writeFrame,
} from '../../storage/segment-format.ts'
import { TimeIndex } from '../../storage/time-index.ts'

const salt = Buffer.from('0102030405060708', 'hex')
const header = {
  topicId: Buffer.alloc(16, 0xab),
  partition: 7,
  baseOffset: 1_234_567_890_123,
  salt,
  leaderEpoch: 5,
  compaction: 0,
  tombstoneMs: 0,
}
const golden = join(import.meta.dirname, '../golden/segment-v1.bin')

/** A header, a frame with a batch of two records, and a frame without a batch. */
function segmentBytes(): Buffer {
  const batch = encodeRecordBatch([
    {
      key: 'customer-17850',
      value: '{"sku":"85123A"}',
      headers: [{ key: 'type', value: 'ItemAdded' }],
      timestamp: 1_291_191_960_000,
    },
    { key: null, value: null, timestamp: 1_291_191_960_001 },
  ])
  stampBatch(batch, 0, header.baseOffset, header.leaderEpoch)
  const bytes = Buffer.concat([
    encodeSegmentHeader(header),
    Buffer.alloc(FRAME_BYTES),
    batch,
    Buffer.alloc(FRAME_BYTES),
  ])
  writeFrame(bytes, SEGMENT_HEADER_BYTES, salt, batch.length, 1_700_000_000_000, header.baseOffset)
  writeFrame(bytes, bytes.length - FRAME_BYTES, salt, 0, 1_700_000_000_000, header.baseOffset + 2)
  return bytes
}

/** PLAYHEAD_WRITE_GOLDEN=1 writes the file, for a new format version under a new name only. */
test('segment format: version 1 is read as it was written for ever (golden bytes)', async () => {
  if (process.env['PLAYHEAD_WRITE_GOLDEN'] === '1') await writeFile(golden, segmentBytes())
  const bytes = await readFile(golden)
  assert.ok(bytes.equals(segmentBytes()))
  assert.deepEqual(decodeSegmentHeader(bytes, 'golden'), header)
  assert.equal(frameProblem(bytes, SEGMENT_HEADER_BYTES, bytes.length, salt), undefined)
  assert.equal(frameAppendTime(bytes, SEGMENT_HEADER_BYTES), 1_700_000_000_000)
  const floorAt = SEGMENT_HEADER_BYTES + FRAME_BYTES + frameBatchBytes(bytes, SEGMENT_HEADER_BYTES)
  assert.deepEqual([frameBatchBytes(bytes, floorAt), frameFloor(bytes, floorAt)], [0, header.baseOffset + 2])
})

test('segment format: a header of version 2, of a rewritten segment, is read as it was written for ever (golden bytes)', async () => {
  const rewritten = { ...header, compaction: 513, tombstoneMs: 1_700_000_000_123 }
  const path = join(import.meta.dirname, '../golden/segment-header-v2.bin')
  if (process.env['PLAYHEAD_WRITE_GOLDEN'] === '1') await writeFile(path, encodeSegmentHeader(rewritten))
  const bytes = await readFile(path)
  assert.ok(bytes.equals(encodeSegmentHeader(rewritten)))
  assert.deepEqual(decodeSegmentHeader(bytes, 'golden'), rewritten)
})

test('segment format: every flipped bit of a header is noticed', () => {
  const bytes = encodeSegmentHeader(header)
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(decodeSegmentHeader(flipped, 'flipped'), undefined, `bit ${bit}`)
  }
})

test('segment format: a header of a newer version is refused by name', () => {
  const bytes = encodeSegmentHeader(header)
  bytes.writeUInt16LE(3, 8)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 60)), 60)
  assert.throws(
    () => decodeSegmentHeader(bytes, '/data/x.log'),
    (error) => isPlayheadError(error, 'unsupportedFormat') && error.message.includes('/data/x.log'),
  )
})

test('segment format: every flipped bit of a frame, and of what it covers of its batch, is noticed', () => {
  const bytes = segmentBytes()
  const end = bytes.length
  for (let bit = 0; bit < (FRAME_BYTES + 21) * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[SEGMENT_HEADER_BYTES + (bit >> 3)]! ^= 1 << (bit & 7)
    assert.notEqual(frameProblem(flipped, SEGMENT_HEADER_BYTES, end, salt), undefined, `bit ${bit}`)
  }
})

test('segment format: zeros, and a frame cut off anywhere, are no frame', () => {
  const bytes = segmentBytes()
  assert.notEqual(frameProblem(Buffer.alloc(1000), 0, 1000, salt), undefined)
  assert.notEqual(frameProblem(Buffer.alloc(1000), 0, 1000, Buffer.alloc(8)), undefined)
  for (let end = SEGMENT_HEADER_BYTES; end < SEGMENT_HEADER_BYTES + FRAME_BYTES + 21; end++) {
    assert.notEqual(frameProblem(bytes, SEGMENT_HEADER_BYTES, end, salt), undefined)
  }
})

test('segment format: file names carry the base offset', () => {
  assert.equal(segmentFileName(42), '00000000000000000042.log')
  assert.equal(baseOffsetOfFile('00000000000000000042.log'), 42)
  for (const name of [
    '42.log',
    '00000000000000000042.idx',
    '00000000000000000042.log.tmp',
    '99999999999999999999.log',
    'topic.json',
  ]) {
    assert.equal(baseOffsetOfFile(name), undefined)
  }
})

test('sparse indexes: floor entries by offset, position and time; encoded and decoded (1,000 entries)', () => {
  const offsets = new OffsetIndex()
  const times = new TimeIndex()
  for (let entry = 0; entry < 1000; entry++) {
    offsets.add(entry * 10, 64 + entry * 20_000)
    times.add(1000 + Math.floor(entry / 3), entry === 0 ? -Infinity : entry * 5)
  }
  assert.deepEqual(
    [offsets.floorOffset(0), offsets.floorOffset(9), offsets.floorOffset(10), offsets.floorOffset(1e9)],
    [0, 0, 1, 999],
  )
  assert.deepEqual([offsets.floorPosition(63), offsets.floorPosition(64), offsets.floorPosition(20_065)], [-1, 0, 1])
  assert.equal(times.startEntry(0, 'append'), 0)
  assert.equal(times.startEntry(1001, 'append'), 2) // entries 3, 4 and 5 have it; the batches between 2 and 3 may have it too
  assert.equal(times.startEntry(6, 'event'), 1)
  assert.equal(times.startEntry(1e9, 'event'), 999)
  assert.deepEqual(OffsetIndex.decode(offsets.encode())?.encode(), offsets.encode())
  assert.deepEqual(TimeIndex.decode(times.encode())?.encode(), times.encode())
})

test('sparse indexes: bytes that are none are not decoded (cut, out of order)', () => {
  const offsets = new OffsetIndex()
  offsets.add(1, 64)
  offsets.add(2, 128)
  const bytes = offsets.encode()
  for (let end = 0; end < bytes.length; end++) assert.equal(OffsetIndex.decode(bytes.subarray(0, end)), undefined)
  bytes.writeUInt32LE(0, 4 + 16)
  assert.equal(OffsetIndex.decode(bytes), undefined)
  assert.equal(TimeIndex.decode(Buffer.alloc(3)), undefined)
})
