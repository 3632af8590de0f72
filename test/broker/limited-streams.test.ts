import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Broker } from '../../broker/broker.ts'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

async function served(path: string, use: (playhead: Playhead) => Promise<void>): Promise<void> {
  await using broker = await Broker.start({ data: path, port: 0, httpPort: 0 })
  const playhead = await connect(`localhost:${broker.port}`)
  try {
    await use(playhead)
  } finally {
    await playhead.close()
  }
}

async function versions(playhead: Playhead, stream: string): Promise<number[]> {
  const found: number[] = []
  for await (const { version } of playhead.topic('carts').stream(stream).read()) found.push(version ?? -1)
  return found
}

test('limited streams: limits and deletions hold at once and after a start; a trimmed partition begins where it was told to', async () => {
  await using directory = await TemporaryDirectory.make()
  await served(directory.path, async (playhead) => {
    await playhead.admin.createTopic('carts')
    const carts = playhead.topic('carts')
    const event = { type: 'Added', data: 1 }
    for (const name of ['a', 'b', 'c']) await carts.stream(name).append([event, event, event, event])
    assert.deepEqual(await carts.stream('a').limit({ maxCount: 2 }), { maxCount: 2, maxAgeMs: 0, truncateBefore: 0 })
    assert.deepEqual(await carts.stream('a').limit({ truncateBefore: 1 }), {
      maxCount: 2,
      maxAgeMs: 0,
      truncateBefore: 1,
    })
    assert.deepEqual(await carts.stream('b').delete(), { maxCount: 0, maxAgeMs: 0, truncateBefore: 4 })
    const refused = (code: string) => (error: unknown) => isPlayheadError(error) && error.code === code
    await assert.rejects(carts.stream('c').limit({ truncateBefore: 5 }), refused('invalidArgument'))
    await assert.rejects(playhead.topic('nowhere').stream('c').delete(), refused('unknownTopic'))
    await assert.rejects(playhead.topic('__playheads').stream('c').delete(), refused('internalTopic'))
    await assert.rejects(carts.stream('x'.repeat(1000)).limit({ maxCount: 1 }), refused('invalidArgument'))
    assert.deepEqual([await versions(playhead, 'a'), await versions(playhead, 'b')], [[2, 3], []])
  })
  await served(directory.path, async (playhead) => {
    const carts = playhead.topic('carts')
    assert.deepEqual(await carts.stream('a').limits(), { maxCount: 2, maxAgeMs: 0, truncateBefore: 1 })
    assert.deepEqual(
      [await versions(playhead, 'a'), await versions(playhead, 'b'), await versions(playhead, 'c')],
      [[2, 3], [], [0, 1, 2, 3]],
    )
    const { lastVersion, firstVersion } = await carts.stream('b').info()
    assert.deepEqual([lastVersion, firstVersion], [3, -1])
    assert.equal((await carts.stream('b').append([{ type: 'Added', data: 1 }], { expectedVersion: 3 })).version, 4)
    assert.deepEqual(await versions(playhead, 'b'), [4])
    await carts.stream('a').limit({ maxCount: 0 })
    assert.deepEqual(await versions(playhead, 'a'), [1, 2, 3])
    assert.deepEqual(await playhead.admin.deleteRecords('carts', [{ partition: 0, offset: 9 }]), [
      { partition: 0, logStartOffset: 9 },
    ])
    assert.deepEqual([await versions(playhead, 'a'), await versions(playhead, 'c')], [[], [1, 2, 3]])
  })
})

test('limited streams: 100 changes of one limit and 100 of others at once: each counts', async () => {
  await using directory = await TemporaryDirectory.make()
  await served(directory.path, async (playhead) => {
    await playhead.admin.createTopic('carts')
    const carts = playhead.topic('carts')
    const stream = carts.stream('a')
    await stream.append(Array.from({ length: 200 }, () => ({ type: 'Added', data: 1 })))
    const places = Array.from({ length: 100 }, (_, place) => place)
    await Promise.all([
      ...places.map((place) => stream.limit(place % 2 === 0 ? { truncateBefore: place } : { maxCount: 100 + place })),
      ...places.map((place) => carts.stream(`b${place}`).limit({ maxCount: 1 + place })),
    ])
    const { truncateBefore, maxCount } = await stream.limits()
    assert.deepEqual([truncateBefore, maxCount], [98, 199])
    for (const place of places) assert.equal((await carts.stream(`b${place}`).limits()).maxCount, 1 + place)
  })
})
