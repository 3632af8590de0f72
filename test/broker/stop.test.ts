import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Broker } from '../../broker/broker.ts'
import { systemRandom } from '../../platform/random.ts'
import type { Random } from '../../platform/random.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FrameClient, connectFrameClient } from './frame-client.ts'
import { appendBatch, createTopic, eventBatch, fetchRequest, runBroker } from './running-broker.ts'

interface ServedBroker {
  readonly port: number
  readonly httpPort: number
  readonly lines: string[]
  kill(signal: NodeJS.Signals): void
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>
}

const mainUrl = pathToFileURL(join(import.meta.dirname, '..', '..', 'broker', 'main.ts')).href
const program = `
  const { serve } = await import(${JSON.stringify(mainUrl)})
  process.exitCode = await serve({ flags: JSON.parse(process.argv[1]), json: true })`

/** A broker in a process of its own, to be sent signals. */
async function serveProcess(data: string): Promise<ServedBroker> {
  const flags = JSON.stringify({ data, port: '0', httpPort: '0' })
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.on('close', (code, signal) => resolve(code ?? signal)),
  )
  const ready = await new Promise<{ port: number; httpPort: number; dataDir: string }>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      lines.push(...text.split('\n').filter(Boolean))
      if (lines[0] !== undefined) resolve(JSON.parse(lines[0]) as { port: number; httpPort: number; dataDir: string })
    })
    void ended.then((code) => reject(new Error(`ended with ${code} before it was ready`)))
  })
  return { ...ready, lines, ended, kill: (signal) => child.kill(signal) }
}

test('a stop wakes parked fetches, answers appends in flight, and what was appended is there after a start', async () => {
  await using directory = await TemporaryDirectory.make()
  const settings = { data: directory.path, port: 0, httpPort: 0 }
  const broker = await Broker.start(settings)
  using client = await connectFrameClient(broker.port)
  await createTopic(client, 't')
  const parked = client.request('fetch', fetchRequest('t', 0, { waitMsMax: 300_000, minBytes: 1 << 20 }))
  await appendBatch(client, 't', eventBatch(['a']))
  const appends = Array.from({ length: 20 }, () => appendBatch(client, 't', eventBatch(['a'])))
  // Its frames are there once the reply to a later request is.
  await client.request('listTopics', { internal: false })
  await broker.stop()
  await broker.stop()
  assert.ok((await parked).header.nextOffset >= 1)
  for (const { header } of await Promise.all(appends)) assert.equal(header.groups[0]?.failure, undefined)
  await client.closed
  await assert.rejects(FrameClient.open(broker.port), { code: 'ECONNREFUSED' })

  await using again = await Broker.start(settings)
  using reader = await connectFrameClient(again.port)
  assert.equal((await reader.request('fetch', fetchRequest('t', 0))).header.highWatermark, 21)
})

test('playheads, topics and settings are there after a start', async () => {
  await using directory = await TemporaryDirectory.make()
  const settings = { data: directory.path, port: 0, httpPort: 0 }
  const position = { partition: 0, offset: 1 }
  {
    await using broker = await Broker.start(settings)
    using client = await connectFrameClient(broker.port)
    await createTopic(client, 't')
    await appendBatch(client, 't', eventBatch(['a']))
    await client.request('commitPlayhead', { topic: 't', name: 'p', positions: [position], expectedVersion: undefined })
  }
  await using broker = await Broker.start(settings)
  using client = await connectFrameClient(broker.port)
  const { header } = await client.request('readPlayhead', { topic: 't', name: 'p' })
  assert.deepEqual([header.version, header.positions], [0, [position]])
})

test('a port in use is named, and the data directory is free afterwards', async () => {
  await using directory = await TemporaryDirectory.make()
  const blocker = createServer()
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
  const { port } = blocker.address() as AddressInfo
  const data = directory.path
  await assert.rejects(Broker.start({ data, port, httpPort: 0 }), {
    code: 'portInUse',
    message: new RegExp(`port ${port} `),
  })
  await assert.rejects(Broker.start({ data, port: 0, httpPort: port }), { code: 'portInUse', message: /--http-port/ })
  blocker.close()
  await using broker = await Broker.start({ data, port: 0, httpPort: 0 })
  assert.ok(broker.port > 0)
})

test('a data directory that another broker uses is refused', async () => {
  await using running = await runBroker()
  await assert.rejects(Broker.start({ data: running.broker.dataDirectory, port: 0, httpPort: 0 }), {
    code: 'dataDirectoryInUse',
  })
})

test('settings out of range and unknown ones are refused before anything is touched', async () => {
  await assert.rejects(Broker.start({ port: 70_000 }), { code: 'invalidConfiguration', message: /port.*70000/ })
  const unknown: object = { colour: 'red' }
  await assert.rejects(Broker.start(unknown), { code: 'invalidConfiguration', message: /colour/ })
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}, sent twice, stops the process with exit code 0 and a clean stop; stdout has the ready line only`, async () => {
    await using directory = await TemporaryDirectory.make()
    const served = await serveProcess(directory.path)
    using client = await connectFrameClient(served.port)
    await createTopic(client, 't')
    await appendBatch(client, 't', eventBatch(['a']))
    assert.equal((await fetch(`http://127.0.0.1:${served.httpPort}/healthz`)).status, 200)
    const parked = client.request('fetch', fetchRequest('t', 1, { waitMsMax: 300_000 }))
    await client.request('listTopics', { internal: false })
    served.kill(signal)
    served.kill(signal)
    assert.equal(await served.ended, 0)
    assert.equal((await parked).header.nextOffset, 1)
    assert.equal(served.lines.length, 1)
    const facts = JSON.parse(await readFile(join(directory.path, 'broker.json'), 'utf8')) as { cleanStop: boolean }
    assert.equal(facts.cleanStop, true)
  })
}

test('a bug in a request that changes things ends the broker through onFatal; the client is told internal', async () => {
  const fatal: Error[] = []
  let broken = false
  const random: Random = {
    ...systemRandom,
    bytes(count) {
      if (broken) throw new TypeError('a bug')
      return systemRandom.bytes(count)
    },
  }
  const reports: string[] = []
  const report = (_level: string, message: string) => reports.push(message)
  await using running = await runBroker({}, { random, report, onFatal: (error) => fatal.push(error) })
  const { client } = running
  await createTopic(client, 't')
  broken = true
  const commit = { topic: 't', name: 'p', positions: [{ partition: 0, offset: 0 }], expectedVersion: undefined }
  await assert.rejects(client.request('commitPlayhead', commit), { code: 'internal' })
  assert.deepEqual(
    fatal.map(({ message }) => message),
    ['a bug'],
  )
  assert.ok(reports.some((message) => /commitPlayhead.*a bug/.test(message)))
})

test('after kill -9 a broker starts on the same directory, and what was acknowledged is there', async () => {
  await using directory = await TemporaryDirectory.make()
  const served = await serveProcess(directory.path)
  {
    using client = await connectFrameClient(served.port)
    await createTopic(client, 't')
    for (let round = 0; round < 10; round++) await appendBatch(client, 't', eventBatch(['a', 'b']))
  }
  served.kill('SIGKILL')
  assert.equal(await served.ended, 'SIGKILL')
  await using broker = await Broker.start({ data: directory.path, port: 0, httpPort: 0 })
  using client = await connectFrameClient(broker.port)
  assert.equal((await client.request('fetch', fetchRequest('t', 0))).header.highWatermark, 20)
})
