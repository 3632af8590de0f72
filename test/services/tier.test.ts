/**
 * A tier on a real S3 server (MinIO), through `playhead serve` and the command line: a history of which the local disk keeps 5 % replays as it was
 * written, streams scattered over tiered segments are read, and a data directory that is gone comes back from the tier alone.
 * PLAYHEAD_TEST_TIER_MB makes the history larger.
 */
import assert from 'node:assert/strict'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { EventStream } from '../../client/index.ts'
import { MiB } from '../../protocol/limits.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { retailFacts, retailFile, retailFlags } from '../e2e/retail-file.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { S3Service } from './s3-service.ts'
import {
  metric,
  metricReached,
  readHistory,
  scattered,
  serveTiered,
  withClient,
  writeHistory,
} from './tiered-history.ts'

const bytes = Number(process.env['PLAYHEAD_TEST_TIER_MB'] ?? 512) * MiB
const history = {
  topic: 'history',
  bytes,
  segmentBytes: Math.floor(bytes / 24),
  localBytes: Math.floor(bytes / 20),
  valueBytes: 1024,
  scatteredEvery: Math.floor(bytes / 1024 / 20),
}

async function cli(...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await runPlayhead(args)
  assert.equal(code, 0, stderr)
  return stdout
}

async function sizeOf(directory: string): Promise<number> {
  let sum = 0
  for (const name of await readdir(directory, { recursive: true })) {
    const found = await stat(join(directory, name)).catch(() => undefined) // let go meanwhile
    if (found?.isFile() === true) sum += found.size
  }
  return sum
}

/** Waits until the files take less than that: the last of what was sent is let go a look later. */
async function shrunk(directory: string, bytesMax: number): Promise<void> {
  let found = await sizeOf(directory)
  for (let left = 300; found >= bytesMax && left > 0; left--) {
    await wait(100)
    found = await sizeOf(directory)
  }
  assert.ok(found < bytesMax, `${found} bytes, wanted fewer than ${bytesMax}`)
}

test('tier: a history of which 5 % is local replays as written, also from the tier alone (MinIO)', async () => {
  await using service = await S3Service.minio()
  await using directory = await TemporaryDirectory.make()
  const location = await service.bucket('shop', 'tier')
  const data = join(directory.path, 'data')
  let written
  {
    await using broker = await serveTiered(data, location)
    written = await withClient(broker, (playhead) => writeHistory(playhead, history))
    await metricReached(broker, 'playhead_tier_let_go_segments_total', (count) => count >= 21)
    await metricReached(broker, 'playhead_tier_unsent_bytes', (unsent) => unsent === 0)
    await shrunk(join(data, 'topics'), 3 * history.localBytes)
    const read = await withClient(broker, (playhead) => readHistory(playhead, history.topic))
    assert.deepEqual({ ...read, seconds: 0 }, { ...written, seconds: 0 })
    const versions = await withClient(broker, (playhead) => versionsOf(playhead.topic(history.topic).stream(scattered)))
    assert.deepEqual(
      versions,
      Array.from({ length: versions.length }, (_, version) => version),
    )
    assert.ok(versions.length >= 20)
    assert.equal(await broker.stop(), 0)
  }
  await rm(data, { recursive: true })
  const restored = JSON.parse(await cli('tier', 'restore', '--from', location, '--data', data, '--json')) as {
    partitions: { topic: string; endOffset: number; missing: unknown[] }[]
  }
  const partition = restored.partitions.find(({ topic }) => topic === history.topic)
  assert.equal(partition?.endOffset, written.records)
  assert.deepEqual(partition?.missing, [])
  await using broker = await serveTiered(data, location)
  const read = await withClient(broker, (playhead) => readHistory(playhead, history.topic))
  assert.deepEqual({ ...read, seconds: 0 }, { ...written, seconds: 0 })
  assert.ok((await metric(broker, 'playhead_tier_read_bytes_total')) > bytes)
  const ls = await cli('tier', 'ls', history.topic, '--tier', location, '--json')
  assert.equal((JSON.parse(ls) as { endOffset: number }).endOffset, written.records)
  assert.match(await cli('tier', 'verify', '--tier', location), /no damage/)
})

async function versionsOf(stream: EventStream): Promise<(number | null)[]> {
  const versions: (number | null)[] = []
  for await (const { version } of stream.read()) versions.push(version)
  return versions
}

test('tier: Online Retail restored on an empty broker has the same events, versions, settings and totals (MinIO)', async () => {
  await using service = await S3Service.minio()
  await using directory = await TemporaryDirectory.make()
  const location = await service.bucket('retail')
  const data = join(directory.path, 'data')
  const settings = ['segment.bytes=4194304', 'local.retention.bytes=4194304']
  const before = { customer: '', asOf: '', streams: '', described: '', totals: '' }
  {
    await using broker = await serveTiered(data, location)
    await broker.ok('topic', 'create', 'carts', ...settings.flatMap((setting) => ['--config', setting]))
    await broker.ok('import', 'carts', retailFile, ...retailFlags)
    Object.assign(before, await looksOf(broker))
    assert.equal(await broker.stop(), 0)
  }
  await rm(data, { recursive: true })
  const text = await cli('tier', 'restore', '--from', location, '--data', data)
  assert.match(text, new RegExp(`carts +0 .*${retailFacts.rows.toLocaleString('en-US')}`))
  await using again = await serveTiered(data, location)
  assert.deepEqual(await looksOf(again), before)
  await using reader = await ServedBroker.start(join(directory.path, 'reader'), ['--read-only', '--tier', location])
  const { totals, customer } = await looksOf(reader)
  assert.deepEqual({ totals, customer }, { totals: before.totals, customer: before.customer })
  const refused = await reader.run(['append', 'carts', 'x', '--type', 'Noted', '--data', '{}'])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /read-only/)
  const appended = JSON.parse(await again.ok('append', 'carts', '17850', '--type', 'Noted', '--data', '{}')) as {
    offset: number
  }
  assert.equal(appended.offset, retailFacts.rows)
})

/** What people see: a stream, as of a moment, the streams, the settings, and a view over everything. */
async function looksOf(broker: ServedBroker): Promise<Record<string, string>> {
  const totals = await withClient(broker, async (playhead) => {
    const byCountry = new Map<string, number>()
    for await (const batch of playhead.topic('carts').replay({ from: 'start' })) {
      for (const record of batch) {
        const { data } = record.event() as { data: { Country?: string; Quantity?: number; UnitPrice?: number } }
        const country = data.Country ?? ''
        byCountry.set(country, (byCountry.get(country) ?? 0) + (data.Quantity ?? 0) * (data.UnitPrice ?? 0))
      }
    }
    return [...byCountry].toSorted(([a], [b]) => (a < b ? -1 : 1)).join('\n')
  })
  return {
    customer: await broker.ok('read', 'carts', '17850'),
    asOf: await broker.ok('read', 'carts', '17850', '--as-of', '2010-12-05T00:00:00Z'),
    streams: await broker.ok('streams', 'carts', '--limit', '5000'),
    // Into how many files it is cut may change: a stop seals what there is.
    described: (await broker.ok('topic', 'describe', 'carts', '--json')).replace(
      /"(leaderEpoch|sizeBytes|segments)":\d+,?/g,
      '',
    ),
    totals,
  }
}
