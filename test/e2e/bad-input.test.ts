/**
 * Bad input from the command line, each with its typed, named error and exit code; the broker lives on and nothing already written is lost.
 * Bad frames and batches are test/broker/wire.test.ts.
 */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { runPlayhead } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

const linesOf = (text: string): string[] => text.split('\n').slice(0, -1)
const event = ['--type', 'T', '--data', '{}']

/** Arguments, and the start of what stderr says. All end with exit code 1. */
const refused: readonly (readonly [args: readonly string[], stderr: RegExp])[] = [
  [['read', 'nothing', 'a'], /^error: unknown-topic: .*nothing/],
  [['append', 'nothing', 'a', ...event], /^error: unknown-topic: .*nothing/],
  [['replay', 'nothing'], /^error: unknown-topic: .*nothing/],
  [['streams', 'nothing'], /^error: unknown-topic: .*nothing/],
  [['rewind', 'nothing', 'r', '--to', 'start'], /^error: unknown-topic: .*nothing/],
  [['topic', 'describe', 'nothing'], /^error: unknown-topic: .*nothing/],
  [['topic', 'delete', 'nothing', '--yes'], /^error: unknown-topic: .*nothing/],
  [['replay', 'carts', '--partition', '9'], /^error: unknown-partition: carts: found partition 9, wanted 0 … 1/],
  [['topic', 'create', 'carts'], /^error: topic-exists: .*carts/],
  ...['..', 'a/b', 'a..b', '../etc/passwd', '', 'é', 'x'.repeat(250)].map(
    (name) => [['topic', 'create', name], /^error: invalid-topic-name: /] as const,
  ),
  [['read', 'a/b', 'a'], /^error: invalid-topic-name: /],
  [['topic', 'create', 'many', '--partitions', '100000'], /^error: invalid-partitions: .*100000/],
  [['topic', 'create', 'copies', '--replication-factor', '3'], /^error: invalid-replication-factor: .*3/],
  [['topic', 'create', 'odd', '--config', 'colour=blue'], /^error: unknown-setting: .*colour/],
  [['topic', 'create', 'odd', '--config', 'segment.bytes=1'], /^error: invalid-setting: .*segment\.bytes.*1/],
  [['topic', 'alter', 'carts', '--config', 'segment.bytes=big'], /^error: invalid-setting: .*segment\.bytes.*big/],
  [['append', '__playheads', 'a', ...event], /^error: internal-topic: .*__playheads/],
  [['topic', 'delete', '__playheads', '--yes'], /^error: internal-topic: /],
  [['append', 'carts', '', ...event], /^error: invalid-stream: .*found 0 bytes/],
  [['append', 'carts', 'x'.repeat(1025), ...event], /^error: invalid-stream: .*found 1025 bytes/],
  [['append', 'carts', 'é'.repeat(513), ...event], /^error: invalid-stream: .*found 1026 bytes/],
  [['read', 'carts', ''], /^error: invalid-stream: /],
  [
    ['append', 'carts', 'a', ...event, '--expected-version', '7'],
    /^error: wrong-expected-version: carts\/a: expected 7, found 0\n$/,
  ],
  [
    ['append', 'carts', 'a', ...event, '--expected-version', 'none'],
    /^error: wrong-expected-version: carts\/a: expected none, found 0\n$/,
  ],
  [
    ['append', 'carts', 'new', ...event, '--expected-version', '0'],
    /^error: wrong-expected-version: carts\/new: expected 0, found none\n$/,
  ],
  [['append', 'carts', 'a', ...event, '--expected-version', '-1'], /^error: invalid-expected-version: .*-1/],
  [['append', 'carts', 'a', ...event, '--expected-version', '1.5'], /^error: invalid-expected-version: /],
  [['append', 'carts', 'a', ...event, '--id', '7'], /^error: invalid-event: .*"7", wanted a UUID/],
  [['append', 'carts', 'a', '--type', '', '--data', '{}'], /^error: invalid-event: .*type.*0 bytes/],
  [['append', 'carts', 'a', ...event, '--tag', 't'.repeat(257)], /^error: invalid-event: .*tag.*257 bytes/],
  [
    ['append', 'small', 'a', '--type', 'T', '--data', `"${'x'.repeat(2_000)}"`],
    /^error: batch-too-large: .*(1,?024|max\.message\.bytes)/,
  ],
  [['replay', 'carts', '--partition', '0', '--from', '999'], /^error: offset-out-of-range: .*999/],
  [['replay', 'carts', '--as', 'a/b'], /^error: invalid-playhead-name: /],
  [['rewind', 'carts', 'nobody', '--to', 'start'], /^error: unknown-playhead: /],
]

test('bad input: every refusal has its name and exit code 1; the broker lives on and what was written stands', async () => {
  await using temporary = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(temporary.path, 'data'))
  await broker.ok('topic', 'create', 'carts', '--partitions', '2')
  await broker.ok('topic', 'create', 'small', '--config', 'max.message.bytes=1024')
  await broker.ok('append', 'carts', 'a', ...event)
  for (const [args, wanted] of refused) {
    const { stdout, stderr, code } = await broker.run(args)
    const shown = `playhead ${args.map((arg) => arg.slice(0, 40)).join(' ')}: ${stderr}`
    assert.match(stderr, wanted, shown)
    assert.equal(code, 1, shown)
    assert.equal(stdout, '', shown)
    assert.equal(linesOf(stderr).length, 1, shown)
  }
  assert.equal(linesOf(await broker.ok('replay', 'carts')).length, 1)
  assert.equal(await broker.stop(), 0)
})

const rowsBefore = 20_000
const goodRows = Array.from({ length: rowsBefore }, (_, row) => `c${row % 7},${row},2011-06-01`).join('\n')

/** What follows 20,000 good rows, from line 20,002 on. */
const badRows: readonly (readonly [name: string, text: string, flags: readonly string[], stderr: RegExp])[] = [
  ['a missing column', 'c1,5\n', [], /line 20002: found 2 columns, wanted 3/],
  ['one column too many', 'c1,5,2011-06-01,x\n', [], /line 20002: found 4 columns, wanted 3/],
  [
    'an opening quote without a closing one',
    'c1,"5,2011-06-01\nc1,6,2011-06-01\n',
    [],
    /line 20002: found an opening quote/,
  ],
  [
    'text after a closing quote',
    'c1,5,2011-06-01\nc1,"5"x,2011-06-01\n',
    [],
    /line 20003: found text after a closing quote/,
  ],
  ['an empty stream', ',5,2011-06-01\n', [], /line 20002: column customer: found an empty stream name/],
  [
    'a stream of 1,025 bytes',
    `${'x'.repeat(1025)},5,2011-06-01\n`,
    [],
    /line 20002: column customer: .*found 1025 bytes/,
  ],
  ['no number', 'c1,five,2011-06-01\n', ['--number', 'n'], /line 20002: column n: found "five", wanted a number/],
  ['no time', 'c1,5,soon\n', ['--time', 'at'], /line 20002: column at: found "soon", wanted a time/],
  ['bytes that are not UTF-8', 'c1,\u0000,2011-06-01\n', [], /line 20002: found bytes that are not UTF-8/],
]

test('bad rows: the import stops and names the line; every row before it is there', async () => {
  await using temporary = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(temporary.path, 'data'))
  for (const [index, [name, text, flags, wanted]] of badRows.entries()) {
    const topic = `topic-${index}`
    const path = join(temporary.path, `rows-${index}.csv`)
    const bytes = Buffer.from(`customer,n,at\n${goodRows}\n${text}`)
    await writeFile(
      path,
      bytes.map((byte) => (byte === 0 ? 0xe9 : byte)),
    )
    await broker.ok('topic', 'create', topic, '--partitions', '2')
    const { stdout, stderr, code } = await broker.run([
      'import',
      topic,
      path,
      '--stream',
      'customer',
      '--type',
      '=T',
      ...flags,
    ])
    assert.match(stderr, /^error: invalid-row: /, name)
    assert.match(stderr, wanted, name)
    assert.equal(code, 1, name)
    assert.equal(stdout, '', name)
    const before = linesOf(await broker.ok('replay', topic)).length
    const goodOnes = rowsBefore + (name === 'text after a closing quote' ? 1 : 0)
    // Where a piece of the file is not UTF-8, the rows of that piece are not known.
    if (name === 'bytes that are not UTF-8') assert.ok(before <= goodOnes)
    else assert.equal(before, goodOnes, name)
  }
})

test('bad files: a column that is not there, a file that is not there or cut, an unknown topic', async () => {
  await using temporary = await TemporaryDirectory.make()
  await using broker = await ServedBroker.start(join(temporary.path, 'data'))
  await broker.ok('topic', 'create', 'carts')
  const rows = join(temporary.path, 'rows.csv')
  await writeFile(rows, 'customer,sku\n1,a\n')
  const empty = join(temporary.path, 'empty.csv')
  await writeFile(empty, '')
  const cut = join(temporary.path, 'cut.csv.gz')
  await writeFile(cut, Buffer.from('1f8b0800000000000003', 'hex'))
  const from = (topic: string, path: string, column = 'customer') => [
    'import',
    topic,
    path,
    '--stream',
    column,
    '--type',
    '=T',
  ]
  for (const [args, wanted] of [
    [
      from('carts', rows, 'client'),
      /^error: invalid-row: .*rows\.csv line 1: found columns "customer", "sku", wanted one named "client" \(--stream\)/,
    ],
    [
      [...from('carts', rows), '--number', 'price'],
      /^error: invalid-row: .*line 1: .*wanted one named "price" \(--number\)/,
    ],
    [from('carts', empty), /^error: invalid-row: .*empty\.csv line 1: found an empty file/],
    [from('carts', join(temporary.path, 'none.csv')), /^error: invalid-argument: file .*none\.csv: found none/],
    [from('carts', cut), /^error: invalid-argument: file .*cut\.csv\.gz: found damaged gzip data/],
    [from('nothing', rows), /^error: unknown-topic: .*playhead topic create nothing makes it/],
  ] as const) {
    const { stderr, code } = await broker.run(args)
    assert.match(stderr, wanted)
    assert.equal(code, 1)
  }
  assert.equal(await broker.ok('replay', 'carts'), '')
})

test('serve: a directory in use, not writable, or of a newer format; a port in use', async () => {
  await using temporary = await TemporaryDirectory.make()
  const directory = join(temporary.path, 'data')
  const ports = ['--port', '0', '--http-port', '0']
  const first = await ServedBroker.start(directory)
  await first.ok('topic', 'create', 'carts')
  await first.ok('append', 'carts', 'a', ...event)

  const inUse = await runPlayhead(['serve', '--data', directory, ...ports])
  assert.match(inUse.stderr, /error: data-directory-in-use: /)
  assert.equal(inUse.code, 1)
  for (const [flag, port] of [
    ['--port', first.port],
    ['--http-port', first.httpPort],
  ] as const) {
    const other = join(temporary.path, `other${flag}`)
    const taken = await runPlayhead(['serve', '--data', other, ...ports, flag, String(port)])
    assert.match(taken.stderr, new RegExp(`error: port-in-use: port ${port} .*${flag}`))
    assert.equal(taken.code, 1)
  }
  assert.match(await first.ok('read', 'carts', 'a'), /"version":0/)
  assert.equal(await first.stop(), 0)

  const broker = join(directory, 'broker.json')
  const facts = await readFile(broker, 'utf8')
  assert.match(facts, /"format": ?1/)
  await writeFile(broker, facts.replace(/"format": ?1/, '"format":999'))
  const newer = await runPlayhead(['serve', '--data', directory, ...ports])
  assert.match(
    newer.stderr,
    /error: (unsupported-format: .*broker\.json: found format version 999|damaged-data: .*broker\.json)/,
  )
  assert.equal(newer.code, 1)
  await writeFile(broker, facts)
  await using again = await ServedBroker.start(directory)
  assert.match(await again.ok('read', 'carts', 'a'), /"version":0/)

  const file = join(temporary.path, 'file')
  await writeFile(file, '')
  const notWritable = await runPlayhead(['serve', '--data', join(file, 'data'), ...ports])
  assert.match(notWritable.stderr, /error: data-directory-not-writable: /)
  assert.equal(notWritable.code, 1)
})

test('serve: a port taken by somebody else is named, and the directory is free afterwards', async () => {
  await using temporary = await TemporaryDirectory.make()
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const directory = join(temporary.path, 'data')
  const { stderr, code } = await runPlayhead(['serve', '--data', directory, '--port', String(port), '--http-port', '0'])
  await new Promise((resolve) => server.close(resolve))
  assert.match(stderr, new RegExp(`^error: port-in-use: port ${port} `, 'm'))
  assert.equal(code, 1)
  await using broker = await ServedBroker.start(directory)
  assert.equal(await broker.ok('topic', 'list', '--json'), '')
})
