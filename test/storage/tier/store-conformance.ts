/** What every ObjectStore must do, as one suite: for a directory, for real S3 servers, and for the one that makes faults. */
import assert from 'node:assert/strict'
import type { ObjectStore } from '../../../storage/tier/object-store.ts'
import { partBytesMin } from '../../../storage/tier/object-store.ts'

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys
}

/** `conditional`: whether it keeps an object that is there from being replaced. */
export async function checkStore(store: ObjectStore, conditional: boolean): Promise<void> {
  const bytes = Buffer.from('what happened, in order')
  assert.equal(await store.get('logs/a.json'), undefined)
  assert.equal(await store.sizeBytes('logs/a.json'), undefined)
  assert.equal(await store.read('logs/a.json', 0, Buffer.alloc(4)), undefined)
  await store.remove('logs/a.json')

  await store.put('logs/a.json', bytes)
  assert.deepEqual(await store.get('logs/a.json'), bytes)
  assert.equal(await store.sizeBytes('logs/a.json'), bytes.length)
  const part = Buffer.alloc(8)
  assert.equal(await store.read('logs/a.json', 5, part), 8)
  assert.deepEqual(part, bytes.subarray(5, 13))
  assert.equal(await store.read('logs/a.json', bytes.length - 3, part), 3)
  assert.deepEqual(part.subarray(0, 3), bytes.subarray(-3))
  assert.equal(await store.read('logs/a.json', bytes.length, part), 0)
  await store.put('logs/a.json', Buffer.from('replaced'))
  assert.equal((await store.get('logs/a.json'))?.toString(), 'replaced')

  assert.equal(await store.putIfAbsent('logs/b/c.json', bytes), 'stored')
  if (conditional) {
    assert.equal(await store.putIfAbsent('logs/b/c.json', Buffer.from('other')), 'exists')
    assert.deepEqual(await store.get('logs/b/c.json'), bytes)
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, writer) => store.putIfAbsent('logs/race.json', Buffer.from(`writer ${writer}`))),
    )
    const winner = outcomes.indexOf('stored')
    assert.equal(outcomes.filter((outcome) => outcome === 'stored').length, 1)
    assert.equal((await store.get('logs/race.json'))?.toString(), `writer ${winner}`)
    await store.remove('logs/race.json')
  }

  const large = Buffer.alloc(partBytesMin + 1000, 7)
  large.writeUInt32LE(1234, partBytesMin)
  const upload = await store.beginUpload('data/large.log')
  await Promise.all([upload.part(2, large.subarray(partBytesMin)), upload.part(1, large.subarray(0, partBytesMin))])
  assert.equal(await store.sizeBytes('data/large.log'), undefined)
  await upload.complete()
  assert.equal(await store.sizeBytes('data/large.log'), large.length)
  assert.equal((await store.get('data/large.log'))?.equals(large), true)
  const begun = await store.beginUpload('data/gone-on-with.log')
  await begun.part(1, large.subarray(0, partBytesMin))
  if (begun.token !== undefined) {
    const resumed = await store.resumeUpload('data/gone-on-with.log', begun.token)
    assert.deepEqual([...(resumed?.parts ?? [])], [[1, partBytesMin]])
    await resumed?.upload.part(2, large.subarray(partBytesMin))
    await resumed?.upload.complete()
    assert.equal((await store.get('data/gone-on-with.log'))?.equals(large), true)
    assert.equal(await store.resumeUpload('data/gone-on-with.log', begun.token), undefined)
  } else await begun.abort()
  const given = await store.beginUpload('data/given-up.log')
  await given.part(1, bytes)
  await given.abort()
  assert.equal(await store.sizeBytes('data/given-up.log'), undefined)

  await store.removeUnfinished(Infinity)
  assert.deepEqual(await keysOf(store, 'logs/'), ['logs/a.json', 'logs/b/c.json'])
  assert.deepEqual(await keysOf(store, 'logs/b/'), ['logs/b/c.json'])
  assert.deepEqual(await keysOf(store, 'nothing/'), [])
  await store.remove('logs/b/c.json')
  assert.deepEqual(await keysOf(store, 'logs/'), ['logs/a.json'])
}
