/** Every command against a real broker, as users type it. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { StreamEvent } from '../../client/index.ts'
import { playheadCommand } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

const eventsOf = (text: string): StreamEvent[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as StreamEvent)

async function withBroker(use: (broker: ServedBroker, directory: string) => Promise<void>): Promise<void> {
  await using temporary = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(temporary.path, 'data'))
  await use(broker, temporary.path)
  assert.equal(await broker.stop(), 0)
}

/** `count` events in `carts`, ItemAdded and ItemRemoved in turn, over three streams. */
async function appendSome(broker: ServedBroker, directory: string, count: number): Promise<void> {
  const rows = Array.from(
    { length: count },
    (_, row) => `customer-${row % 3},${row % 2 ? 'ItemRemoved' : 'ItemAdded'},${row}`,
  )
  const path = join(directory, `rows-${count}.csv`)
  await writeFile(path, `stream,kind,row\n${rows.join('\n')}\n`)
  await broker.ok('import', 'carts', path, '--stream', 'stream', '--type', 'kind', '--number', 'row')
}

test('topic: create, list, describe, alter, delete, for people and as JSON', () =>
  withBroker(async (broker) => {
    assert.equal(
      await broker.ok('topic', 'create', 'carts', '--partitions', '3'),
      'created topic carts with 3 partitions\n',
    )
    const created = JSON.parse(
      await broker.ok('topic', 'create', 'orders', '--config', 'segment.bytes=67108864', '--json'),
    ) as object
    assert.deepEqual(Object.keys(created), ['topic', 'topicId', 'partitions'])
    assert.match(await broker.ok('topic', 'list'), /^topic +partitions +id\ncarts +3 .*\norders +1 /)
    const names = (await broker.ok('topic', 'list', '--json'))
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { topic: string }).topic)
    assert.deepEqual(names, ['carts', 'orders'])
    assert.match(await broker.ok('topic', 'describe', 'orders'), /segment\.bytes +67108864 +topic/)
    await broker.ok('topic', 'alter', 'orders', '--config', 'segment.bytes=')
    assert.match(await broker.ok('topic', 'describe', 'orders'), /segment\.bytes +\d+ +default/)
    const unasked = await broker.run(['topic', 'delete', 'orders'])
    assert.equal(unasked.code, 2)
    assert.match(unasked.stderr, /found nobody to ask, wanted --yes/)
    await broker.ok('topic', 'delete', 'orders', '--yes')
    assert.doesNotMatch(await broker.ok('topic', 'list'), /orders/)
  }))

test('append and read: versions, expected versions, the event line field by field', () =>
  withBroker(async (broker) => {
    await broker.ok('topic', 'create', 'carts')
    const append = ['append', 'carts', 'customer-17850', '--type', 'ItemAdded']
    const id = '0190b7f2-5c1e-7c3a-9b41-2f6d1a0e8c55'
    const first = await broker.ok(...append, '--data', '{"sku":"85123A","quantity":6}', '--expected-version', 'none')
    assert.equal(first, '{"partition":0,"offset":0,"version":0}\n')
    await broker.ok(
      ...append,
      '--data',
      '1',
      '--expected-version',
      '0',
      '--id',
      id,
      '--tag',
      'a',
      '--tag',
      'b',
      '--time',
      '2011-06-01',
    )
    await broker.ok(...append, '--data=-2', '--expected-version', 'any')
    const stale = await broker.run([...append, '--data', '{}', '--expected-version', '1'])
    assert.deepEqual(stale, {
      stdout: '',
      stderr: 'error: wrong-expected-version: carts/customer-17850: expected 1, found 2\n',
      code: 1,
    })
    const text = await broker.ok('read', 'carts', 'customer-17850')
    const fields = 'stream version offset partition timestamp type id tags data metadata'
    assert.deepEqual(Object.keys(eventsOf(text)[0]!), fields.split(' '))
    assert.equal(
      text.split('\n')[1],
      `{"stream":"customer-17850","version":1,"offset":1,"partition":0,"timestamp":"2011-06-01T00:00:00.000Z","type":"ItemAdded","id":"${id}","tags":["a","b"],"data":1,"metadata":{}}`,
    )
    assert.deepEqual(
      eventsOf(text).map(({ data }) => data),
      [{ sku: '85123A', quantity: 6 }, 1, -2],
    )
    const versionsOf = async (...flags: string[]) =>
      eventsOf(await broker.ok('read', 'carts', 'customer-17850', ...flags)).map(({ version }) => version)
    assert.deepEqual(await versionsOf('--from', '1'), [1, 2])
    assert.deepEqual(await versionsOf('--backwards'), [2, 1, 0])
    assert.deepEqual(await versionsOf('--backwards', '--from', '1', '--limit', '1'), [1])
    assert.deepEqual(await versionsOf('--as-of', '2011-06-01T00:00:00Z'), [1])
    assert.deepEqual(await versionsOf('--as-of', '1306886399'), [])
    assert.deepEqual(await versionsOf('--known-at', '2011-06-01'), [])
    assert.equal(await broker.ok('read', 'carts', 'nobody'), '')
  }))

test('streams: by prefix and limit, as NDJSON', () =>
  withBroker(async (broker, directory) => {
    await broker.ok('topic', 'create', 'carts', '--partitions', '2')
    await appendSome(broker, directory, 7)
    const names = async (...flags: string[]) =>
      (await broker.ok('streams', 'carts', ...flags))
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as { stream: string; lastVersion: number })
    assert.deepEqual(
      (await names()).map(({ stream, lastVersion }) => `${stream} ${lastVersion}`),
      ['customer-0 2', 'customer-1 1', 'customer-2 1'],
    )
    assert.equal((await names('--limit', '2')).length, 2)
    assert.equal((await names('--prefix', 'customer-1')).length, 1)
    assert.equal((await names('--prefix', 'x')).length, 0)
  }))

test('replay: from start, end, an offset, a time; types; limit; one partition', () =>
  withBroker(async (broker, directory) => {
    await broker.ok('topic', 'create', 'carts', '--partitions', '2')
    await appendSome(broker, directory, 60)
    const replay = async (...flags: string[]) => eventsOf(await broker.ok('replay', 'carts', ...flags))
    assert.equal((await replay()).length, 60)
    assert.equal((await replay('--from', 'end')).length, 0)
    assert.equal((await replay('--from', '2000-01-01')).length, 60)
    assert.equal((await replay('--from', '2999-01-01T00:00:00Z')).length, 0)
    assert.equal((await replay('--limit', '7')).length, 7)
    assert.equal((await replay('--type', 'ItemAdded')).length, 30)
    assert.equal((await replay('--type', 'ItemAdded', '--type', 'ItemRemoved')).length, 60)
    const whole = await replay('--partition', '0')
    assert.deepEqual(await replay('--partition', '0', '--from', '5'), whole.slice(5))
    const ambiguous = await broker.run(['replay', 'carts', '--from', '5'])
    assert.equal(ambiguous.code, 1)
    assert.match(ambiguous.stderr, /^error: invalid-argument: carts: found offset 5 for 2 partitions/)
  }))

test('replay --follow: prints what is appended later, and Ctrl-C ends it with 0', () =>
  withBroker(async (broker) => {
    await broker.ok('topic', 'create', 'carts')
    await broker.ok('append', 'carts', 'c', '--type', 'T', '--data', '1')
    let appended: Promise<unknown> | undefined
    const { stdout, stderr, code } = await broker.run(['replay', 'carts', '--follow'], {
      onStdout: (text, signal) => {
        appended ??= broker.ok('append', 'carts', 'c', '--type', 'T', '--data', '2')
        if (text.split('\n').length === 3) signal('SIGINT')
      },
    })
    await appended
    assert.equal(code, 0, stderr)
    assert.equal(stderr, '')
    assert.deepEqual(
      eventsOf(stdout).map(({ data }) => data),
      [1, 2],
    )
  }))

test('replay --as NAME --commit goes on where it stood; rewind shows its plan, and moves with --execute', () =>
  withBroker(async (broker, directory) => {
    await broker.ok('topic', 'create', 'carts', '--partitions', '2')
    await appendSome(broker, directory, 30)
    const replay = async (...flags: string[]) =>
      eventsOf(await broker.ok('replay', 'carts', '--as', 'mailer', ...flags))
    assert.equal((await replay()).length, 30, 'without --commit nothing moves')
    assert.equal((await replay('--commit', '--limit', '12')).length, 12)
    assert.equal((await replay('--commit')).length, 18)
    assert.equal((await replay('--commit')).length, 0)
    await appendSome(broker, directory, 31)
    assert.equal((await replay('--commit', '--type', 'ItemAdded')).length, 16)
    assert.equal((await replay()).length, 0, 'events of other types are passed as well')

    const plan = await broker.run(['rewind', 'carts', 'mailer', '--to', 'start'])
    assert.equal(plan.code, 0)
    const { partitions, ...rest } = JSON.parse(plan.stdout) as {
      partitions: { from: number; to: number; recordsAgain: number }[]
    }
    assert.deepEqual(rest, { topic: 'carts', playhead: 'mailer', executed: false, recordsAgain: 61 })
    for (const { from, to, recordsAgain } of partitions) assert.deepEqual([to, recordsAgain], [0, from])
    assert.match(plan.stderr, /--execute/)
    assert.equal((await replay()).length, 0, 'the plan moves nothing')
    assert.match(await broker.ok('rewind', 'carts', 'mailer', '--to', 'start', '--execute'), /"executed":true/)
    assert.equal((await replay()).length, 61)
    await broker.ok('rewind', 'carts', 'mailer', '--to', '3', '--partition', '1', '--execute')
    assert.equal((await replay()).length, 58)
    const unknown = await broker.run(['rewind', 'carts', 'nobody', '--to', 'start'])
    assert.equal(unknown.code, 1)
    assert.match(
      unknown.stderr,
      /^error: unknown-playhead: carts\/nobody: found no such playhead, wanted one of this topic \(mailer\)/,
    )
  }))

test('import: NDJSON, gzip told by content, into a topic that takes small batches only; no bar in a pipe', () =>
  withBroker(async (broker, directory) => {
    await broker.ok('topic', 'create', 'articles', '--config', 'max.message.bytes=2048')
    const rows = Array.from({ length: 5_000 }, (_, row) =>
      JSON.stringify({ id: `a${row % 9}`, kind: 'Article', at: 1_306_886_400 + row }),
    )
    const path = join(directory, 'articles.ndjson')
    await writeFile(path, gzipSync(`${rows.join('\n')}\n`))
    const { stdout, stderr, code } = await broker.run([
      'import',
      'articles',
      path,
      '--stream',
      'id',
      '--type',
      'kind',
      '--time',
      'at',
    ])
    assert.equal(code, 0, stderr)
    assert.equal(stderr, '')
    const { seconds, ...counts } = JSON.parse(stdout) as Record<string, number>
    assert.deepEqual(counts, { records: 5_000, appended: 5_000, skipped: 0, streams: 9 })
    assert.ok(seconds! > 0)
    const [first] = eventsOf(await broker.ok('read', 'articles', 'a3', '--limit', '1'))
    assert.deepEqual(
      [first?.timestamp, first?.type, first?.data],
      ['2011-06-01T00:00:03.000Z', 'Article', { id: 'a3', kind: 'Article', at: 1_306_886_403 }],
    )
  }))

test('output: head ends read and replay quietly, however much is left', () =>
  withBroker(async (broker, directory) => {
    await broker.ok('topic', 'create', 'carts')
    await appendSome(broker, directory, 30_000)
    for (const command of ['replay carts', 'read carts customer-0', 'streams carts']) {
      const { stdout, stderr, status } = await shell(
        `"${playheadCommand}" ${command} --server ${broker.server} | head -2`,
      )
      assert.equal(stdout.split('\n').length, 3, command)
      assert.equal(stderr, '', command)
      assert.equal(status, 0)
    }
  }))

test('status: for people and as JSON; --server from the environment', () =>
  withBroker(async (broker) => {
    assert.match(await broker.ok('status'), /^release +\d+\.\d+\.\d+\n.*\nproblems +none\n$/s)
    const { stdout } = await broker.run(['status', '--json'], { environment: { PLAYHEAD_SERVER: 'nowhere:1' } })
    assert.equal((JSON.parse(stdout) as { dataDirectory: string }).dataDirectory, broker.dataDirectory)
  }))

test('start-up: append and read answer quickly (printed, not asserted)', () =>
  withBroker(async (broker) => {
    await broker.ok('topic', 'create', 'carts')
    const timed = async (...args: string[]): Promise<number> => {
      const startedMs = performance.now()
      await broker.ok(...args)
      return performance.now() - startedMs
    }
    const append = ['append', 'carts', 'c', '--type', 'T', '--data', '1']
    const times = { append: [] as number[], read: [] as number[] }
    for (let run = 0; run < 5; run++) {
      times.append.push(await timed(...append))
      times.read.push(await timed('read', 'carts', 'c'))
    }
    for (const [name, all] of Object.entries(times)) {
      console.log(`${name}: ${all.map((ms) => ms.toFixed(0)).join(' ')} ms`)
      assert.ok(all.length === 5)
    }
  }))

function shell(command: string): Promise<{ stdout: string; stderr: string; status: number }> {
  return new Promise((resolve) =>
    execFile('sh', ['-c', command], { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve({ stdout, stderr, status: typeof error?.code === 'number' ? error.code : 0 }),
    ),
  )
}
