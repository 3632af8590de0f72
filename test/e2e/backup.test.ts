/**
 * Backup and restore: of a broker under load, as of a moment, killed in the middle, damaged, into directories that are in use. What comes back is judged by
 * reading it and by `playhead verify`.
 */
import assert from 'node:assert/strict'
import { cp, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

const settings = { 'segment.bytes': 1_048_576 }
const filler = 'x'.repeat(900)

/** Appends to two streams until told to stop; answers how many were acknowledged at a time of the caller's choice. */
class Load {
  acknowledged = 0
  #stopped = false
  readonly done: Promise<void>

  constructor(server: string) {
    this.done = this.#run(server)
  }

  async #run(server: string): Promise<void> {
    await using playhead = await connect(server)
    const carts = playhead.topic('carts')
    while (!this.#stopped) {
      const numbers = Array.from({ length: 20 }, (_, index) => this.acknowledged + index)
      await Promise.all(
        numbers.map((number) => carts.stream(`s-${number % 7}`).append({ type: 'Numbered', data: { number, filler } })),
      )
      this.acknowledged += numbers.length
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.done
  }
}

async function numbersIn(server: string): Promise<Set<number>> {
  await using playhead = await connect(server)
  const numbers = new Set<number>()
  for (let stream = 0; stream < 7; stream++) {
    for await (const { data } of playhead.topic('carts').stream(`s-${stream}`).read()) {
      const { number } = data as { number: number }
      assert.ok(!numbers.has(number), 'nothing twice')
      numbers.add(number)
    }
  }
  return numbers
}

async function ok(args: readonly string[]): Promise<string> {
  const { stdout, stderr, code } = await runPlayhead(args)
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
  return stdout
}

async function refused(args: readonly string[], message: RegExp): Promise<void> {
  const { stderr, code } = await runPlayhead(args)
  assert.equal(code, 1, stderr)
  assert.match(stderr, message)
}

async function filesBelow(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true })
  const files: string[] = []
  for (const name of names.toSorted()) if ((await stat(join(directory, name))).isFile()) files.push(name)
  return files
}

test('backup: of a broker under load it holds all that was acknowledged before, comes back sound, and as of a moment', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  await using broker = await ServedBroker.start(at('data'))
  {
    await using playhead = await connect(broker.server)
    await playhead.admin.createTopic('carts', { settings })
    const load = new Load(broker.server)
    while (load.acknowledged < 2_000) await new Promise((resolve) => setTimeout(resolve, 20))
    const momentBefore = load.acknowledged
    await new Promise((resolve) => setTimeout(resolve, 5))
    const moment = new Date().toISOString()
    await new Promise((resolve) => setTimeout(resolve, 50))
    await playhead.admin.createTopic('later')
    while (load.acknowledged < 3_500) await new Promise((resolve) => setTimeout(resolve, 20))
    await playhead
      .topic('carts')
      .playhead('billing')
      .commit([{ partition: 0, offset: 10 }])
    const before = load.acknowledged
    const told = JSON.parse(await broker.ok('backup', '--data', at('data'), '--to', at('backup'), '--json')) as {
      topics: number
    }
    assert.equal(told.topics, 4)
    await load.stop()

    await ok(['restore', '--from', at('backup'), '--data', at('all')])
    await ok(['restore', '--from', at('backup'), '--data', at('moment'), '--at', moment])
    for (const name of ['all', 'moment']) await ok(['verify', '--data', at(name)])
    await using all = await ServedBroker.start(at('all'))
    const numbers = await numbersIn(all.server)
    for (let number = 0; number < before; number++) assert.ok(numbers.has(number), `${number} of ${before}`)
    await using restored = await connect(all.server)
    assert.deepEqual((await restored.topic('carts').playhead('billing').read())?.positions, [
      { partition: 0, offset: 10 },
    ])
    await restored
      .topic('carts')
      .stream('s-0')
      .append({ type: 'Numbered', data: { number: -1 } })

    await using earlier = await ServedBroker.start(at('moment'))
    const then = await numbersIn(earlier.server)
    for (let number = 0; number < momentBefore; number++) assert.ok(then.has(number), `${number} of ${momentBefore}`)
    assert.ok(then.size < numbers.size && then.size >= momentBefore, `${then.size} of ${numbers.size}`)
    await using past = await connect(earlier.server)
    assert.deepEqual(
      (await past.admin.listTopics()).map(({ topic }) => topic),
      ['carts'],
    )
    for await (const record of past.topic('carts').replay({ from: 'start' }))
      for (const { timestamp } of record) assert.ok(timestamp <= Date.parse(moment) + 1)
    await past
      .topic('carts')
      .stream('s-0')
      .append({ type: 'Numbered', data: { number: -1 } })
  }
  assert.equal(await broker.stop(), 0)
  await ok(['backup', '--data', at('data'), '--to', at('stopped')])
  await ok(['restore', '--from', at('stopped'), '--data', at('again')])
  await ok(['verify', '--data', at('again')])
})

/** A broker with some tens of segments. */
async function serveFilled(directory: string): Promise<ServedBroker> {
  const broker = await ServedBroker.start(directory)
  {
    await using playhead = await connect(broker.server)
    await playhead.admin.createTopic('carts', { settings })
    const producer = playhead.topic('carts').producer()
    for (let number = 0; number < 30_000; number++)
      await producer.send({ key: `s-${number % 7}`, value: JSON.stringify({ number, filler }) })
    await producer.close()
  }
  return broker
}

test('backup: one that was killed in the middle is none, and its directory is not used again', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  await using broker = await serveFilled(at('data'))
  // Killed in the middle, at a place of its own each time.
  let unfinished = 0
  for (let round = 0; round < 12 && unfinished < 3; round++) {
    const target = at(`killed-${round}`)
    await runPlayhead(['backup', '--data', at('data'), '--to', target, '--server', broker.server], {
      onStart(signal) {
        const look = setInterval(() => void killIf(target, round, look, signal), 2)
        setTimeout(() => clearInterval(look), 20_000).unref()
      },
    })
    if ((await filesBelow(target)).includes('backup.json')) continue
    unfinished++
    await refused(
      ['restore', '--from', target, '--data', at('none')],
      /^error: incomplete-backup: .*found no backup\.json/,
    )
    await refused(
      ['backup', '--data', at('data'), '--to', target, '--server', broker.server],
      /^error: target-not-empty: /,
    )
  }
  assert.ok(unfinished > 0, 'no backup was caught in the middle')
})

test('restore: what is damaged or in the way is refused by name, and nothing is overwritten', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  await using broker = await serveFilled(at('data'))
  await broker.ok('backup', '--data', at('data'), '--to', at('backup'))
  const before = await Promise.all(
    (await filesBelow(at('data'))).map(async (name) => [name, (await stat(join(at('data'), name))).size]),
  )
  await refused(
    ['restore', '--from', at('backup'), '--data', at('data')],
    /^error: target-not-empty: .*nothing was written/,
  )
  assert.deepEqual(
    await Promise.all(
      (await filesBelow(at('data'))).map(async (name) => [name, (await stat(join(at('data'), name))).size]),
    ),
    before,
  )
  await refused(['backup', '--data', at('nowhere'), '--to', at('x')], /^error: damaged-data: .*no broker\.json/)
  await refused(
    ['restore', '--from', at('backup'), '--data', at('none'), '--at', '2999-01-01T00:00:00Z'],
    /^error: invalid-argument: .*before the end of the backup/,
  )

  const harm: [string, (directory: string, name: string) => Promise<void>, RegExp][] = [
    ['.log', flipByte, /damaged-backup: .*SHA-256/],
    ['.idx', flipByte, /damaged-backup: .*SHA-256/],
    ['topic.json', flipByte, /damaged-backup: .*SHA-256/],
    ['broker.json', flipByte, /damaged-backup: .*SHA-256/],
    ['files.ndjson', flipByte, /damaged-backup: .*files\.ndjson: found SHA-256/],
    ['backup.json', flipByte, /damaged-backup: .*backup\.json/],
    ['.log', (from, name) => rm(join(from, name)), /damaged-backup: .*no file/],
    [
      '.log',
      async (from, name) => writeFile(join(from, name), (await readFile(join(from, name))).subarray(0, 5_000)),
      /damaged-backup: .*5000 bytes/,
    ],
  ]
  for (const [index, [kind, damage, message]] of harm.entries()) {
    const copy = at(`damaged-${index}`)
    await cp(at('backup'), copy, { recursive: true })
    const name = (await filesBelow(copy)).find((each) => each.endsWith(kind))
    assert.ok(name !== undefined, kind)
    await damage(copy, name)
    await refused(['restore', '--from', copy, '--data', at('none')], message)
    assert.deepEqual(
      (await readdir(directory.path)).filter((each) => each.startsWith('none')),
      [],
      'nothing is left behind',
    )
    await rm(copy, { recursive: true })
  }
  await mkdir(at('none'))
  await ok(['restore', '--from', at('backup'), '--data', at('none')])
})

/** Kills the backup once it has written more than so many files. */
async function killIf(
  target: string,
  files: number,
  look: NodeJS.Timeout,
  signal: (name: NodeJS.Signals) => void,
): Promise<void> {
  const written = await filesBelow(target).catch(() => [])
  if (written.length <= files) return
  clearInterval(look)
  signal('SIGKILL')
}

async function flipByte(directory: string, name: string): Promise<void> {
  const path = join(directory, name)
  const bytes = await readFile(path)
  const at = Math.floor(bytes.length / 2)
  bytes[at] = bytes[at]! ^ 1
  await writeFile(path, bytes)
}
