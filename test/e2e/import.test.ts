/**
 * The main job on real input: a shop's history imported, rewound, replayed, interrupted by kill -9, verified, damaged.
 * The import's speed is printed, not asserted.
 */
import assert from 'node:assert/strict'
import { cp, open } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../client/index.ts'
import type { StreamEvent } from '../../client/index.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { retailFacts, retailFile, retailFlags } from './retail-file.ts'
import { ServedBroker } from './served-broker.ts'

interface Summary {
  readonly records: number
  readonly appended: number
  readonly skipped: number
  readonly streams: number
  readonly seconds: number
}

const importArgs = ['import', 'carts', retailFile, ...retailFlags]
const importRetail = async (broker: ServedBroker): Promise<Summary> =>
  JSON.parse(await broker.ok(...importArgs)) as Summary
const linesOf = (text: string): string[] => text.split('\n').slice(0, -1)
const eventsOf = (text: string): StreamEvent[] => linesOf(text).map((line) => JSON.parse(line) as StreamEvent)

/** Every row of the topic, counted; ids and rows of one partition are checked to be there once. */
async function assertWhole(broker: ServedBroker): Promise<void> {
  await using playhead = await connect(broker.server)
  const ids = new Set<string>()
  const streams = new Set<string>()
  const nextOffsets = new Map<number, number>()
  let records = 0
  let nobody = 0
  for await (const batch of playhead.topic('carts').replay()) {
    for (const record of batch) {
      assert.equal(record.offset, nextOffsets.get(record.partition) ?? 0, `partition ${record.partition} without a gap`)
      nextOffsets.set(record.partition, record.offset + 1)
      ids.add(record.headers.find(({ key }) => key === 'id')?.value?.toString('latin1') ?? '')
      streams.add(record.stream ?? '')
      if (record.stream === 'nobody') nobody++
      records++
    }
  }
  assert.equal(records, retailFacts.rows)
  assert.equal(ids.size, retailFacts.rows, 'every row once')
  assert.equal(nobody, retailFacts.withoutCustomer)
  assert.equal(streams.size, retailFacts.customers + 1)
  assert.equal(nextOffsets.size, 4)
}

async function assertVerified(dataDirectory: string): Promise<void> {
  const { stdout, stderr, code } = await runPlayhead(['verify', '--data', dataDirectory])
  assert.equal(code, 0, stdout + stderr)
}

test('import: 541,909 rows into 4 partitions; read as of a moment, versions, replay, import again, verify, one flipped byte', async (t) => {
  await using temporary = await TemporaryDirectory.make()
  const directory = join(temporary.path, 'data')
  await using broker = await ServedBroker.start(directory)
  await broker.ok('topic', 'create', 'carts', '--partitions', '4')

  await t.test('every row is appended', async () => {
    const { seconds, ...counts } = await importRetail(broker)
    const { rows, customers } = retailFacts
    assert.deepEqual(counts, { records: rows, appended: rows, skipped: 0, streams: customers + 1 })
    console.log(`import: ${Math.round(rows / seconds).toLocaleString('en-US')} rows/s (${seconds} s)`)
  })

  await t.test('a customer as of a moment', async () => {
    const events = eventsOf(await broker.ok('read', 'carts', '14911', '--as-of', '2011-06-01T00:00:00Z'))
    assert.equal(events.length, 1639)
    assert.equal(
      events.reduce((sum, { data }) => sum + (data as { Quantity: number }).Quantity, 0),
      17_474,
    )
  })

  await t.test('versions are contiguous', async () => {
    const events = eventsOf(await broker.ok('read', 'carts', '14911'))
    assert.deepEqual(
      events.map(({ version }) => version),
      Array.from({ length: 5903 }, (_, version) => version),
    )
    const backwards = eventsOf(await broker.ok('read', 'carts', '14911', '--backwards', '--limit', '3'))
    assert.deepEqual(backwards, events.slice(-3).toReversed())
  })

  await t.test('replay yields every row once, also on the command line', async () => {
    await assertWhole(broker)
    assert.equal(linesOf(await broker.ok('replay', 'carts')).length, retailFacts.rows)
  })

  await t.test('importing again adds nothing', async () => {
    const { seconds: _, ...counts } = await importRetail(broker)
    const { rows, customers } = retailFacts
    assert.deepEqual(counts, { records: rows, appended: 0, skipped: rows, streams: customers + 1 })
    await assertWhole(broker)
  })

  await t.test(
    'verify refuses a directory in use, passes when it is stopped, and names file and position of a flipped byte',
    async () => {
      const inUse = await runPlayhead(['verify', '--data', directory])
      assert.equal(inUse.code, 1)
      assert.match(inUse.stderr, /^error: data-directory-in-use: /)
      assert.equal(await broker.stop(), 0)
      await assertVerified(directory)
      await assertDamageIsNamed(directory, join(temporary.path, 'damaged'))
    },
  )
})

async function assertDamageIsNamed(directory: string, copy: string): Promise<void> {
  const { stdout } = await runPlayhead(['verify', '--data', directory, '--json'])
  const { bytes } = JSON.parse(stdout) as { bytes: number }
  assert.ok(bytes > 50_000_000, `${bytes} bytes read`)
  await cp(directory, copy, { recursive: true })
  const { segment, position } = await flipByte(copy)
  const damaged = await runPlayhead(['verify', '--data', copy])
  assert.equal(damaged.code, 1, damaged.stdout)
  assert.match(damaged.stderr, /^error: damaged-data: /m)
  assert.ok(damaged.stderr.includes(segment), `${segment} is named: ${damaged.stderr}`)
  const named = /position (\d+)/.exec(damaged.stderr)?.[1]
  assert.ok(
    named !== undefined && Math.abs(Number(named) - position) < 1024 * 1024,
    `${position} is named: ${damaged.stderr}`,
  )
}

/** Flips a bit in the middle of the largest log file; answers its name and the position. */
async function flipByte(directory: string): Promise<{ segment: string; position: number }> {
  const { glob, stat } = await import('node:fs/promises')
  let largest = { path: '', size: 0 }
  for await (const name of glob('topics/**/*.log', { cwd: directory })) {
    const { size } = await stat(join(directory, name))
    if (size > largest.size) largest = { path: name, size }
  }
  const position = Math.floor(largest.size / 2)
  await using file = await open(join(directory, largest.path), 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, position)
  byte[0]! ^= 0x10
  await file.write(byte, 0, 1, position)
  return { segment: largest.path.split('/').at(-1)!, position }
}

test('import: kill -9 of the broker in the middle, twice, and of the import itself: run again it ends the same', async () => {
  await using temporary = await TemporaryDirectory.make()
  const directory = join(temporary.path, 'data')
  let broker = await ServedBroker.start(directory)
  try {
    await broker.ok('topic', 'create', 'carts', '--partitions', '4')
    let before = 0
    for (const victim of ['broker', 'import', 'broker'] as const) {
      let killImport = (_name: NodeJS.Signals): void => {}
      const running = broker.run([...importArgs, '--timeout', '2'], { onStart: (signal) => (killImport = signal) })
      before = await waitForRecords(broker, before + 60_000)
      if (victim === 'import') {
        killImport('SIGKILL')
        assert.equal((await running).code, null)
        continue
      }
      await broker.kill()
      const { code, stderr } = await running
      assert.equal(code, 1, stderr)
      assert.match(stderr, /^error: unavailable: /)
      await assertVerified(directory)
      broker = await ServedBroker.start(directory)
    }
    const { seconds: _, ...counts } = await importRetail(broker)
    assert.equal(counts.records, retailFacts.rows)
    assert.equal(counts.appended + counts.skipped, retailFacts.rows)
    assert.ok(counts.skipped >= before)
    await assertWhole(broker)
    assert.equal(await broker.stop(), 0)
    await assertVerified(directory)
  } finally {
    await broker[Symbol.asyncDispose]()
  }
})

/** Waits until the topic has so many committed records; answers how many it has. */
async function waitForRecords(broker: ServedBroker, wanted: number): Promise<number> {
  await using playhead = await connect(broker.server)
  for (;;) {
    const { partitions } = await playhead.topic('carts').describe()
    const records = partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0)
    if (records >= wanted) return records
    await sleep(5)
  }
}

test('import: kill -9 of the broker, which comes back at the same port: the import goes on by itself, nothing twice', async () => {
  await using temporary = await TemporaryDirectory.make()
  const directory = join(temporary.path, 'data')
  let broker = await ServedBroker.start(directory)
  try {
    await broker.ok('topic', 'create', 'carts', '--partitions', '4')
    const running = broker.run([...importArgs, '--timeout', '30'])
    for (const wanted of [100_000, 300_000]) {
      await waitForRecords(broker, wanted)
      const port = String(broker.port)
      await broker.kill()
      broker = await ServedBroker.start(directory, ['--port', port])
    }
    const { stdout, stderr, code } = await running
    assert.equal(code, 0, stderr)
    const { seconds: _, ...counts } = JSON.parse(stdout) as Summary
    const { rows, customers } = retailFacts
    assert.deepEqual(counts, { records: rows, appended: rows, skipped: 0, streams: customers + 1 })
    await assertWhole(broker)
    assert.equal(await broker.stop(), 0)
    await assertVerified(directory)
  } finally {
    await broker[Symbol.asyncDispose]()
  }
})

test('import: Ctrl-C ends it with what stands and what to do, and the same command goes on from there', async () => {
  await using temporary = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(temporary.path, 'data'))
  await broker.ok('topic', 'create', 'carts', '--partitions', '4')
  let interrupt = (_name: NodeJS.Signals): void => {}
  const running = broker.run(importArgs, { onStart: (signal) => (interrupt = signal) })
  await waitForRecords(broker, 50_000)
  interrupt('SIGINT')
  const { stdout, stderr, code } = await running
  assert.equal(code, 130, stderr)
  assert.match(stderr, /^interrupted after [\d,]+ rows; run the same command again to continue\n$/)
  assert.equal(stdout, '')
  const { seconds: _, ...counts } = await importRetail(broker)
  assert.equal(counts.appended + counts.skipped, retailFacts.rows)
  assert.ok(counts.skipped >= 50_000 && counts.appended > 0, JSON.stringify(counts))
  await assertWhole(broker)
})
