/** The tier as a whole over a directory: sent, let go, read through, started again, restored, fenced. */
import assert from 'node:assert/strict'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { isPlayheadError } from '../../../protocol/errors.ts'
import type { Log } from '../../../storage/log.ts'
import { verifyTier } from '../../../storage/tier/tier-check.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { restoreTier } from '../../../storage/tier/tier-restore.ts'
import { verify } from '../../../storage/verify.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { append, sealed, until } from '../store-under-test.ts'
import { TieredStore } from './tiered-store.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }

/** Segments of three events each, all sealed. */
async function fill(log: Log, segments: number, streams = ['a', 'b']): Promise<void> {
  for (let segment = 0; segment < segments; segment++) {
    await append(log, ...streams.map((stream) => `${stream}=${segment}`), `only-${segment}=x`)
    await log.files.roll()
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

async function objectKeys(location: string, prefix: string): Promise<string[]> {
  const store = await openObjectStore(location, foundation)
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys
}

test('tier: an object that was changed is named by verify, and a read of it is refused, never answered', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  await using store = await TieredStore.open(data, location)
  const log = await store.createLog('carts')
  await fill(log, 3)
  await store.sent(log)
  const key = (await objectKeys(location, 'logs/')).find((each) => each.endsWith('.log')) ?? ''
  const path = join(directory.path, 'tier', key)
  const bytes = await readFile(path)
  bytes[bytes.length - 3]! ^= 1
  await writeFile(path, bytes)
  const objects = await openObjectStore(location, foundation)
  const scratchDirectory = join(directory.path, 'scratch')
  const verdict = await verifyTier({ ...foundation, store: objects, scratchDirectory }, () => undefined)
  assert.deepEqual(
    verdict.damage.map((each) => each.key),
    [key],
  )
  await assert.rejects(
    log.read({ offset: 0, maxBytes: 1 << 20, limitOffset: log.durableOffset }),
    (error) => isPlayheadError(error, 'tierUnavailable') && error.message.includes('other bytes'),
  )
  assert.deepEqual(log.damage, [])
  bytes[bytes.length - 3]! ^= 1
  await writeFile(path, bytes)
  assert.deepEqual(await valuesOf(log, 'only-0'), ['0:x'])
})

test('tier: what has rotted on the local disk is not sent, and stays there; what comes after it is sent', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  await using store = await TieredStore.open(data, location, { tier: { lookMs: 60_000 } })
  const log = await store.createLog('carts')
  await fill(log, 3)
  const partition = join(store.under.store.topic('carts').directory, '0')
  await sealed(log)
  const name = (await readdir(partition)).filter((each) => each.endsWith('.log'))[1] ?? ''
  const bytes = await readFile(join(partition, name))
  bytes[bytes.length - 3]! ^= 1
  await writeFile(join(partition, name), bytes)
  await store.tier.stop()
  assert.match(store.reports.join('\n'), /it is not sent to the tier and stays on the local disk/)
  assert.ok((await readdir(partition)).includes(name))
  assert.equal((await objectKeys(location, 'logs/')).filter((key) => key.endsWith('.log')).length, 2)
})

test('tier: a topic that is deleted goes from the tier after the grace, also over a restart', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  {
    await using store = await TieredStore.open(data, location, { tier: { orphanGraceMs: 3_600_000 } })
    const log = await store.createLog('carts')
    await fill(log, 2)
    await store.sent(log)
    await store.under.store.deleteTopic('carts')
    await until(async () => (await objectKeys(location, 'topics/')).length > 0)
  }
  assert.ok((await objectKeys(location, 'logs/')).length > 0)
  const objects = await openObjectStore(location, foundation)
  const restored = await restoreTier({ ...foundation, store: objects, location, dataDirectory: `${data}-restored` })
  assert.deepEqual(restored, [])
  await rm(join(directory.path, 'tier', 'owner', '0000000002.json'))
  await using again = await TieredStore.open(data, location, { tier: { orphanGraceMs: -1 } })
  await until(async () => (await objectKeys(location, 'logs/')).length === 0)
  await until(async () => (await objectKeys(location, 'topics/')).length === 0)
  assert.deepEqual(again.reports, [])
})

test('tier: with remote.storage.enable=false nothing is sent; with local.retention.bytes only the oldest go', async () => {
  await using directory = await TemporaryDirectory.make()
  const [data, location] = [join(directory.path, 'data'), `file://${directory.path}/tier`]
  await using store = await TieredStore.open(data, location)
  const kept = await store.createLog('kept', { 'remote.storage.enable': 'false' })
  await fill(kept, 2)
  // Room for the active segment and some of the small ones.
  const carts = await store.createLog('carts', { 'local.retention.bytes': String((1 << 20) + 700) })
  await fill(carts, 8)
  await until(() => store.tier.stats.segments === 8 && store.tier.stats.letGoSegments > 0)
  const localOf = async (topic: string) => {
    const names = await readdir(join(store.under.store.topic(topic).directory, '0'))
    return names.filter((name) => name.endsWith('.log'))
  }
  assert.equal((await localOf('kept')).length, 3)
  const local = await localOf('carts')
  assert.ok(local.length > 1 && local.length < 9, `${local.length} local segments`)
  assert.equal(local.at(-1), `${String(carts.logEndOffset).padStart(20, '0')}.log`)
})
