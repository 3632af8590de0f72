/** Sidecars: golden bytes, round trips over many blocks, and damage at every byte. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { StreamPart } from '../../storage/merged-streams.ts'
import { RecentPostings } from '../../storage/recent-postings.ts'
import { readFooter, Sidecar, type StreamPostings } from '../../storage/sidecar.ts'
import { SectionKind, type SegmentSummary } from '../../storage/sidecar-format.ts'
import { writeSidecar } from '../../storage/sidecar-writer.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const golden = fileURLToPath(new URL('../golden/sidecar-v1.bin', import.meta.url))

const summary: SegmentSummary = {
  topicId: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
  partition: 2,
  baseOffset: 1000,
  nextOffset: 2 ** 33,
  leaderEpoch: 7,
  batches: 5,
  records: 60,
  maxTimestamp: 1_306_886_400_000.5,
  firstAppendTimeMs: 1_767_225_600_000,
  lastAppendTimeMs: 1_767_225_600_999,
  segmentBytes: 123_456,
  segmentChecksum: 0xdeadbeef,
  compaction: 0,
  previousChecksum: 0xcafef00d,
}
const sections = {
  offsets: Buffer.from('offset index'),
  times: Buffer.from('time index'),
  producers: Buffer.from('producers'),
}

const versionOf = ([part]: readonly StreamPart[]) => part!.table.firstOffset(part!.slot) + 100
const damagedData = (error: unknown) => isPlayheadError(error, 'damagedData')

/** Streams with their offsets -> the bytes of a sidecar. A stream's first event here has version 100 + its offset. */
async function sidecarOf(streams: Record<string, readonly number[]>): Promise<Buffer> {
  const postings = new RecentPostings()
  const events = Object.entries(streams).flatMap(([stream, offsets]) => offsets.map((offset) => ({ stream, offset })))
  for (const { stream, offset } of events.toSorted((a, b) => a.offset - b.offset)) postings.addStream(stream, offset)
  return Buffer.concat(await writeSidecar({ summary, ...sections, tables: [postings], versionOf, clock: systemClock }))
}

const goldenStreams = {
  'customer-17850': [1000, 1001, 1003, 2 ** 32 + 900],
  '\u{1f600}': [1004],
  '\uffee': [1002],
  'customer-1': [1005],
}
const sorted = ['customer-1', 'customer-17850', '\uffee', '\u{1f600}']

async function read(bytes: Buffer, directory: TemporaryDirectory): Promise<Sidecar> {
  const path = `${directory.path}/sidecar.idx`
  await writeFile(path, bytes)
  return Sidecar.open(nodeFileSystem, path)
}

async function all(sidecar: Sidecar): Promise<StreamPostings[]> {
  const found: StreamPostings[] = []
  for await (const postings of sidecar.postings()) found.push(postings)
  return found
}

test('sidecar: version 1 reads and writes the golden bytes', async () => {
  const written = await sidecarOf(goldenStreams)
  if (process.env['PLAYHEAD_GOLDEN'] === 'write') await writeFile(golden, written)
  const bytes = await readFile(golden)
  assert.equal(written.toString('hex'), bytes.toString('hex'))
  await using directory = await TemporaryDirectory.make()
  await using sidecar = await read(bytes, directory)
  const { streams, bodyBytes, bodyChecksum, checksum, ...rest } = sidecar.footer
  assert.deepEqual(rest, summary)
  assert.deepEqual([streams, bodyBytes], [4, bytes.length - 160])
  assert.deepEqual(
    [bodyChecksum, checksum],
    [bytes.readUInt32LE(bytes.length - 36), bytes.readUInt32LE(bytes.length - 4)],
  )
  assert.equal((await sidecar.section(SectionKind.offsets))?.toString(), 'offset index')
  assert.equal((await sidecar.section(SectionKind.times))?.toString(), 'time index')
  assert.equal((await sidecar.section(SectionKind.producers))?.toString(), 'producers')
  const found = await all(sidecar)
  assert.deepEqual(
    found.map(({ stream }) => stream),
    sorted,
  )
  for (const [stream, offsets] of Object.entries(goldenStreams)) {
    const wanted = { stream, firstVersion: offsets[0]! + 100, offsets }
    assert.deepEqual(
      found.find((each) => each.stream === stream),
      wanted,
    )
    assert.deepEqual(await sidecar.find(stream), wanted)
  }
  for (const nobody of ['', 'a', 'customer-17', 'zzz', '\u{1f601}']) assert.equal(await sidecar.find(nobody), undefined)
  await sidecar.checkBody()
})

test('sidecar: 20,000 streams in many blocks, each found by itself', async () => {
  const streams: Record<string, number[]> = { hot: [] }
  for (let offset = 0; offset < 60_000; offset++) {
    const stream = offset % 3 === 0 ? 'hot' : `customer-${(offset * 7919) % 20_011}`
    const offsets = streams[stream]
    if (offsets === undefined) streams[stream] = [offset]
    else offsets.push(offset)
  }
  await using directory = await TemporaryDirectory.make()
  await using sidecar = await read(await sidecarOf(streams), directory)
  assert.equal(sidecar.footer.streams, Object.keys(streams).length)
  for (const stream of ['hot', 'customer-1', 'customer-9999', 'customer-20010']) {
    assert.deepEqual((await sidecar.find(stream))?.offsets, streams[stream])
  }
  assert.equal(await sidecar.find('customer-20011'), undefined)
  let count = 0
  let before = ''
  for await (const { stream, offsets } of sidecar.postings()) {
    assert(stream > before)
    assert.deepEqual(offsets, streams[stream])
    before = stream
    count++
  }
  assert.equal(count, sidecar.footer.streams)
})

test('sidecar: of a segment without streams or batches', async () => {
  await using directory = await TemporaryDirectory.make()
  await using sidecar = await read(await sidecarOf({}), directory)
  assert.deepEqual(await all(sidecar), [])
  assert.equal(await sidecar.find('a'), undefined)
  assert.equal(sidecar.footer.streams, 0)
})

test('sidecar: a section of an unknown kind is passed over', async () => {
  await using directory = await TemporaryDirectory.make()
  const bytes = await sidecarOf(goldenStreams)
  const { encodeSectionHeader, encodeFooter, decodeFooter, FOOTER_BYTES } = await import(
    '../../storage/sidecar-format.ts'
  )
  const { crc32c } = await import('../../protocol/crc32c.ts')
  const header = encodeSectionHeader(SectionKind.offsets, 3, crc32c(Buffer.from('new')))
  header.writeUInt16LE(999, 0)
  header.writeUInt32LE(crc32c(header.subarray(0, 12)), 12)
  const body = Buffer.concat([bytes.subarray(0, 16), header, Buffer.from('new'), bytes.subarray(16, -FOOTER_BYTES)])
  const footer = decodeFooter(bytes.subarray(-FOOTER_BYTES))!
  const changed = encodeFooter({ ...footer, bodyBytes: body.length, bodyChecksum: crc32c(body) })
  await using sidecar = await read(Buffer.concat([body, changed]), directory)
  assert.equal((await sidecar.section(SectionKind.offsets))?.toString(), 'offset index')
  assert.equal((await all(sidecar)).length, 4)
  await sidecar.checkBody()
})

const answers = async (sidecar: Sidecar) => ({
  footer: sidecar.footer,
  sections: [
    await sidecar.section(SectionKind.offsets),
    await sidecar.section(SectionKind.times),
    await sidecar.section(SectionKind.producers),
  ],
  found: await sidecar.find('customer-17850'),
  missing: await sidecar.find('nobody'),
  all: await all(sidecar),
})

test('sidecar: with any one byte changed it answers the same or says damagedData, and the whole check always says so', async () => {
  await using directory = await TemporaryDirectory.make()
  const bytes = await sidecarOf(goldenStreams)
  const wanted = await answers(await read(bytes, directory))
  const path = `${directory.path}/changed.idx`
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 0x10
    await writeFile(path, changed)
    if ((await readFooter(nodeFileSystem, path)) === undefined) {
      assert(at >= bytes.length - 160, `byte ${at} is not in the footer`)
      continue
    }
    try {
      await using sidecar = await Sidecar.open(nodeFileSystem, path)
      await assert.rejects(sidecar.checkBody(), damagedData)
      assert.deepEqual(await answers(sidecar), wanted)
    } catch (error) {
      assert(damagedData(error), `byte ${at}: ${String(error)}`)
    }
  }
})

test('sidecar: cut off anywhere, or missing, it has no footer', async () => {
  await using directory = await TemporaryDirectory.make()
  const bytes = await sidecarOf(goldenStreams)
  const path = `${directory.path}/cut.idx`
  assert.equal(await readFooter(nodeFileSystem, path), undefined)
  for (let length = 0; length < bytes.length; length += 7) {
    await writeFile(path, bytes.subarray(0, length))
    assert.equal(await readFooter(nodeFileSystem, path), undefined)
    await assert.rejects(Sidecar.open(nodeFileSystem, path), (error) => isPlayheadError(error, 'damagedData'))
  }
})
