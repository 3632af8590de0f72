/** playhead bench through the real command: each of the four with few records, a set rate, and what it says when it cannot go on. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

interface Report {
  readonly records: number
  readonly bytes: number
  readonly seconds: number
  readonly recordsPerSecond: number
  readonly mbPerSecond: number
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number }
  readonly client: { readonly cpuSeconds: number; readonly rssMb: number }
  readonly server: { readonly cpuSeconds: number | null; readonly rssMb: number | null }
  readonly reads?: Report & { readonly reads: number }
  readonly partial?: boolean
  readonly error?: { readonly code: string }
}

let temporary: TemporaryDirectory
let broker: ServedBroker

before(async () => {
  temporary = await TemporaryDirectory.make()
  broker = await ServedBroker.start(join(temporary.path, 'data'))
})

after(async () => {
  await broker[Symbol.asyncDispose]()
  await temporary[Symbol.asyncDispose]()
})

async function bench(work: string, topic: string, ...flags: string[]): Promise<Report> {
  return JSON.parse(await broker.ok('bench', work, '--topic', topic, '--json', ...flags)) as Report
}

function checkShape(report: Report, records: number, bytes: number): void {
  assert.equal(report.records, records)
  assert.equal(report.bytes, bytes)
  assert.ok(report.seconds > 0 && report.recordsPerSecond > 0 && report.mbPerSecond >= 0)
  const { p50, p95, p99, max } = report.latencyMs
  assert.ok(p50 >= 0 && p50 <= p95 && p95 <= p99 && p99 <= max && max > 0, JSON.stringify(report.latencyMs))
  assert.ok(report.client.cpuSeconds > 0 && report.client.rssMb > 1)
  assert.ok(report.server.cpuSeconds !== null && report.server.rssMb! > 1)
  assert.equal(report.partial, undefined)
}

test('bench produce, then consume: every record is written once and read back (3,000 records, 50 streams, 2 partitions)', async () => {
  const flags = ['--records', '3000', '--record-bytes', '64', '--streams', '50', '--partitions', '2', '--seed', '9']
  checkShape(await bench('produce', 'pc', ...flags, '--connections', '3'), 3_000, 192_000)
  checkShape(await bench('consume', 'pc', '--connections', '2'), 3_000, 192_000)
  checkShape(await bench('consume', 'pc', '--records', '100'), 100, 6_400)
  const names = (await broker.ok('streams', 'pc')).split('\n').slice(0, -1)
  assert.equal(names.length, 50)
  const described = JSON.parse(await broker.ok('topic', 'describe', 'pc', '--json')) as {
    partitions: { highWatermark: number }[]
  }
  assert.equal(
    described.partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0),
    3_000,
  )
})

test('bench produce: compressed, with linger, at a set rate, null keys: all acknowledged, none before it was due', async () => {
  const flags = ['--records', '400', '--rate', '2000', '--compression', 'gzip', '--linger', '5', '--acks', 'leader']
  const report = await bench('produce', 'rate', ...flags)
  checkShape(report, 400, 40_000)
  assert.ok(report.seconds >= 399 / 2_000, `400 records at 2,000/s took ${report.seconds} s`)
})

test('bench end-to-end: the reader gets all, also on a topic that holds records of an earlier run', async () => {
  checkShape(await bench('end-to-end', 'e2e', '--records', '500', '--rate', '2500'), 500, 50_000)
  checkShape(await bench('end-to-end', 'e2e', '--records', '300', '--rate', '2500'), 300, 30_000)
  checkShape(await bench('end-to-end', 'e2e', '--records', '900', '--rate', '2500', '--warm-up', '0.2'), 900, 90_000)
})

test('bench stream: conditional appends on a new topic and again on what stands there, then reads', async () => {
  for (let round = 1; round <= 2; round++) {
    const flags = ['--records', '600', '--streams', '40', '--in-flight', '16', '--reads', '50']
    const report = await bench('stream', 'st', ...flags)
    checkShape(report, 600, 60_000)
    assert.equal(report.reads?.reads, 50)
    assert.ok(report.reads.latencyMs.max > 0 && report.reads.records > 50)
    const described = JSON.parse(await broker.ok('topic', 'describe', 'st', '--json')) as {
      partitions: { highWatermark: number }[]
    }
    assert.equal(described.partitions[0]?.highWatermark, 600 * round)
  }
})

test('bench: without --json the summary is text, and a pipe gets no live line', async () => {
  const { stdout, stderr, code } = await broker.run(['bench', 'produce', '--topic', 'text', '--duration', '1.2'])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^bench produce on topic text, seed \d+\n {2}records .*\n {2}throughput .*\n {2}latency {5}p50 /)
  assert.equal(stderr, '')
})

test('bench: nonsense ends with 2, a topic that does not fit with 1, and nothing is written', async () => {
  for (const [args, wanted, exitCode] of [
    ['produce --topic pc --records 0', /invalid-argument: --records: found "0", wanted an integer ≥ 1/, 2],
    ['produce --topic new --rate -1', /invalid-argument: --rate: found "-1"/, 2],
    ['produce --topic rate --record-bytes 5000000', /--record-bytes: found 5000000, wanted at most .*max\.message/, 2],
    ['produce', /required option '--topic <name>'/, 2],
    ['fly --topic pc', /unknown command 'fly'/, 2],
    ['produce --topic pc --partitions 3', /invalid-partitions: --partitions: found topic pc with 2, wanted 3/, 1],
    ['consume --topic nothing', /unknown-topic: .*playhead bench produce --topic nothing fills it/, 1],
    ['produce --topic a/b', /invalid-topic-name/, 1],
  ] as const) {
    const { stdout, stderr, code } = await broker.run(['bench', ...args.split(' ')])
    assert.match(stderr, wanted)
    assert.equal(code, exitCode, stderr)
    assert.equal(stdout, '')
  }
})

test('bench: Ctrl-C prints what was done, marked partial, and ends with 1', async () => {
  const flags = ['bench', 'produce', '--topic', 'interrupted', '--rate', '1000', '--duration', '60', '--json']
  // By then the run is under way, or the interruption comes before the first record: both must end at once.
  const { stdout, stderr, code } = await broker.run(flags, {
    onStart: (signal) => void setTimeout(() => signal('SIGINT'), 3_000),
  })
  assert.equal(code, 1, stderr)
  assert.match(stderr, /error: closed: bench produce: interrupted/)
  const report = JSON.parse(stdout) as Report
  assert.equal(report.partial, true)
  assert.equal(report.error?.code, 'closed')
})

test('bench: a broker killed with -9 in the middle: unavailable, exit code 1, partial figures', async () => {
  for (const work of ['produce', 'end-to-end', 'stream']) {
    await using own = await TemporaryDirectory.make()
    await using dying = await ServedBroker.start(join(own.path, 'data'))
    const flags = ['bench', work, '--topic', 't', '--rate', '2000', '--duration', '60', '--json', '--timeout', '1']
    const running = dying.run(flags)
    await untilWritten(dying, 't')
    await dying.kill()
    const { stdout, stderr, code } = await running
    assert.equal(code, 1, stderr)
    assert.match(stderr, /^error: unavailable: /, work)
    const report = JSON.parse(stdout) as Report
    assert.equal(report.partial, true, work)
    assert.equal(report.error?.code, 'unavailable')
    assert.deepEqual(report.server, { cpuSeconds: null, rssMb: null })
  }
})

/** Resolves when the topic holds a record. */
async function untilWritten(served: ServedBroker, topic: string): Promise<void> {
  for (;;) {
    const { stdout, code } = await served.run(['topic', 'describe', topic, '--json'])
    if (code !== 0) continue
    const { partitions } = JSON.parse(stdout) as { partitions: { highWatermark: number }[] }
    if (partitions.some(({ highWatermark }) => highWatermark > 0)) return
  }
}
