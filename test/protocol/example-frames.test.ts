/** Frames as bytes are a contract: test/golden/frames-v0.json is added to, never changed. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { apis } from '../../protocol/api.ts'
import { FLAG_ERROR, FrameReader } from '../../protocol/frame.ts'
import { decodeHeader } from '../../protocol/header-codec.ts'
import { splitBatches } from '../../protocol/record-batch.ts'
import { exampleFrames } from './example-frames.ts'

const golden = JSON.parse(readFileSync(new URL('../golden/frames-v0.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>

test('golden frames: every api has a request and a reply', () => {
  const names = Object.keys(apis).flatMap((api) => [`${api} request`, `${api} reply`])
  assert.deepEqual(
    Object.keys(golden).toSorted(),
    [
      ...names,
      'describeTopic error',
      'describeTopic reply of a cluster',
      'describeTopic reply of a cluster with its brokers',
      'streamInfo request, linearizable',
      'streamInfo reply, linearizable',
      'fetch request, from a follower',
      'fetch reply, from a follower',
      'describeTopic reply of a cluster with racks',
    ].toSorted(),
  )
  assert.deepEqual(exampleFrames.map(({ name }) => name).toSorted(), Object.keys(golden).toSorted())
})

for (const example of exampleFrames) {
  test(`golden frames: ${example.name} is written as the same bytes and read as the same values`, () => {
    const hex = golden[example.name] as string
    assert.equal(example.bytes.toString('hex'), hex)
    const reader = new FrameReader(hex.length)
    reader.push(Buffer.from(hex, 'hex'))
    const frame = reader.next()
    assert.ok(frame)
    assert.equal(frame.api, apis[example.api].number)
    assert.equal((frame.flags & FLAG_ERROR) !== 0, example.name.endsWith('error'))
    assert.deepEqual(decodeHeader(example.field, frame.header), example.header)
    assert.deepEqual(frame.body, example.body)
    splitBatches(frame.body)
    assert.equal(reader.next(), undefined)
  })
}
