/** The tier as a whole over a directory: sent, let go, read through, started again, restored, fenced. */
import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import type { Log } from '../../../storage/log.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { restoreTier } from '../../../storage/tier/tier-restore.ts'
import { verify } from '../../../storage/verify.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { append } from '../store-under-test.ts'
import { TieredStore } from './tiered-store.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }

/** Segments of three events each, all sealed. */
async function fill(log: Log, segments: number, streams = ['a', 'b']): Promise<void> {
  for (let segment = 0; segment < segments; segment++) {
    await append(log, ...streams.map((stream) => `${stream}=${segment}`), `only-${segment}=x`)
    await log.roll()
  }
}

async function contents(log: Log): Promise<string> {
  const parts: Buffer[] = []
  for (let offset = log.logStartOffset; offset < log.durableOffset; ) {
    const { batches, nextOffset } = await log.read({ offset, maxBytes: 1 << 20, limitOffset: log.durableOffset })
    parts.push(...batches.map((batch) => Buffer.from(batch)))
    offset = nextOffset
  }
  return Buffer.concat(parts).toString('hex')
}

async function valuesOf(log: Log, stream: string): Promise<string[]> {
  const { records, versions } = await log.readStream({
    stream,
    limit: 1000,
    backwards: false,
    maxBytes: 1 << 20,
    limitOffset: log.durableOffset,
  })
  return records.map(({ value }, place) => `${versions[place]}:${value?.toString()}`)
}

test('tier: what is sent and let go locally reads as before, also after a restart (12 segments, directory)', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  let before = ''
  {
    await using store = await TieredStore.open(data, location)
    const log = await store.createLog('carts')
    await fill(log, 12)
    before = await contents(log)
    await store.sent(log)
    const local = (await readdir(join(data, 'topics', store.under.store.topic('carts').id, '0'))).filter((name) =>
      name.endsWith('.log'),
    )
    assert.equal(local.length, 1)
    assert.equal(await contents(log), before)
    assert.deepEqual(
      await valuesOf(log, 'b'),
      Array.from({ length: 12 }, (_, segment) => `${segment}:${segment}`),
    )
    assert.deepEqual(store.reports, [])
  }
  const verdict = await verify({ directory: data, fileSystem: nodeFileSystem, clock: systemClock })
  assert.deepEqual(verdict.damage, [])
  assert.match(verdict.notes.join('\n'), /offsets 0 to 35 are in the tier only/)
  await using again = await TieredStore.open(data, location)
  const log = again.log('carts')
  assert.equal(await contents(log), before)
  assert.deepEqual(await valuesOf(log, 'only-3'), ['0:x'])
  await append(log, 'a=more')
  assert.equal((await valuesOf(log, 'a')).at(-1), '12:more')
  assert.deepEqual(
    again.under.reports.filter((report) => report.includes('missing')),
    [],
  )
})

test('tier: an empty data directory restored from the tier has the same offsets, versions and settings', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  let before = ''
  {
    await using store = await TieredStore.open(data, location)
    const log = await store.createLog('carts', { 'max.message.bytes': '2000000' })
    await fill(log, 5)
    await append(log, 'a=not sealed')
    before = await contents(log)
  }
  await rm(data, { recursive: true })
  const store = await openObjectStore(location, foundation)
  const restored = await restoreTier({ ...foundation, store, location, dataDirectory: data })
  assert.equal(restored.length, 1)
  assert.equal(restored[0]?.endOffset, 16)
  assert.deepEqual(restored[0]?.missing, [])
  await using again = await TieredStore.open(data, location)
  const log = again.log('carts')
  assert.equal(log.logEndOffset, 16)
  assert.equal(await contents(log), before)
  assert.deepEqual(await valuesOf(log, 'a'), ['0:0', '1:1', '2:2', '3:3', '4:4', '5:not sealed'])
  assert.equal(again.under.store.topic('carts').facts.settings['max.message.bytes'], '2000000')
  await append(log, 'a=on')
  assert.equal((await valuesOf(log, 'a')).at(-1), '6:on')
  await again.sent(log)
  assert.deepEqual(again.reports, [])
})
