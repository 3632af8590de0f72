/**
 * Hostile bytes over real sockets to a real broker process: every request frame and the HTTP interface, mutated. Every frame that is whole gets
 * exactly one reply, no reply is `internal`, no HTTP answer is a 500, and a healthy client is served as ever, also after kill -9 and a restart.
 * A failure names seed and round: SEED=… runs it again. In process and many more: parsers.test.ts.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { apis } from '../../protocol/api.ts'
import type { ApiName } from '../../protocol/api.ts'
import { failure } from '../../protocol/append.ts'
import { errorCode } from '../../protocol/errors.ts'
import { encodeFrame, FLAG_ERROR, FrameReader } from '../../protocol/frame.ts'
import { decodeHeader, encodeHeader } from '../../protocol/header-codec.ts'
import type { Field } from '../../protocol/header-schema.ts'
import { MiB } from '../../protocol/limits.ts'
import { FrameClient, connectFrameClient, helloRequest } from '../broker/frame-client.ts'
import { freshSeed } from '../client/seeded-random.ts'
import { exampleFrames } from '../protocol/example-frames.ts'
import { mutateBatch, plainBatches } from './batch-mutation.ts'
import { mutateBytes } from './byte-mutation.ts'
import { Dice } from './dice.ts'
import { encodeTree, mutateHeader } from './header-mutation.ts'
import { httpRequest, splitAnswers } from './http-mutation.ts'
import { WatchedBroker } from './watched-broker.ts'

const seed = freshSeed()
/** Above what the broker has when it has served a healthy client. */
const grownBytesMax = 400 * MiB
/** So that nobody waits for nobody: an answer may take its milliseconds. */
const connectionsAtOnce = 5
const flags = ['--fetch-wait-ms-max', '5', '--token-wait-ms-max', '5', '--hello-wait-ms-max', '5000']

const requests = exampleFrames
  .filter(({ name }) => name.endsWith(' request'))
  .map(({ api, field, header }) => ({ api, tree: field.pack(header) }))
const requestHeaders = requests.map(({ tree }) => encodeTree(tree))
const batches = plainBatches(1_306_886_400_000)
/** So that what is created is there to be asked for, and few things are made or deleted: that is slow. */
const rareApis: readonly ApiName[] = ['createTopic', 'deleteTopic', 'alterTopic', 'hello']

/** One request frame with its length right, whatever else is wrong. */
function mutatedRequest(dice: Dice, correlation: number): Buffer {
  let { api, tree } = dice.pick(requests)
  while (rareApis.includes(api) && !dice.oneIn(20)) ({ api, tree } = dice.pick(requests))
  if (api === 'append') return mutatedAppend(dice, correlation)
  const header = mutateHeader(tree, dice, requestHeaders)
  return frameOf(api, correlation, isCostly(api, header) ? encodeTree(tree) : header, [], dice)
}

/** Half of the time the header is right, so that the batches are looked at. */
function mutatedAppend(dice: Dice, correlation: number): Buffer {
  const body = Array.from({ length: 1 + dice.below(3) }, () => mutateBatch(dice.pick(batches), dice, batches))
  const groups = body.map(({ length }) => [length, dice.oneIn(3) ? [['customer-17850', dice.below(4) - 1]] : [], true])
  const tree = ['carts', 0, dice.pick(['all', 'leader', 'none']), groups]
  const header = dice.oneIn(2) ? encodeTree(tree) : mutateHeader(tree, dice, requestHeaders)
  return frameOf('append', correlation, header, body, dice)
}

/** A topic of thousands of partitions is lawful, and its files are work for minutes. */
function isCostly(api: ApiName, header: Buffer): boolean {
  if (api !== 'createTopic') return false
  try {
    return decodeHeader(apis.createTopic.request, header).partitions > 4
  } catch {
    return false
  }
}

function frameOf(api: ApiName, correlation: number, header: Buffer, body: readonly Buffer[], dice: Dice): Buffer {
  const bytes = Buffer.concat(encodeFrame({ version: 0, api: apis[api].number, flags: 0, correlation }, header, body))
  if (dice.oneIn(16)) bytes[4 + dice.below(4)] = dice.below(256)
  return bytes
}

/** Sends the frames in one go and waits until each has its reply. */
async function exchange(
  watched: WatchedBroker,
  frames: readonly Buffer[],
  where: string,
): Promise<{ refused: number }> {
  using client = await connectFrameClient(watched.port)
  client.socket.removeAllListeners('data')
  const reader = new FrameReader(1024 * MiB)
  const missing = new Set(frames.map((_, index) => index + 100))
  let refused = 0
  const answered = new Promise<void>((resolve, reject) => {
    client.socket.on('close', () => {
      if (missing.size === 0) return
      const left = [...missing].map((correlation) => frames[correlation - 100]?.toString('hex').slice(0, 200))
      const found = `closed with ${missing.size} unanswered, the first ${left.slice(0, 5).join(', ')}`
      // Most likely none of these is to blame: a broker that ends closes all connections.
      void watched.fate().then((fate) => reject(new Error(`${where}: ${found}; ${fate}`)))
    })
    client.socket.on('data', (bytes: Buffer) => {
      reader.push(bytes)
      for (let reply = reader.next(); reply !== undefined; reply = reader.next()) {
        const frame = frames[reply.correlation - 100]
        if (!missing.delete(reply.correlation)) return reject(new Error(`${where}: a reply to ${reply.correlation}`))
        if ((reply.flags & FLAG_ERROR) === 0) continue
        refused++
        const { number, message } = decodeHeader(failure, reply.header)
        if (errorCode(number) === 'internal')
          return reject(new Error(`${where}: ${message}: ${frame?.toString('hex').slice(0, 4096)}`))
      }
      if (missing.size === 0) resolve()
    })
  })
  client.socket.write(Buffer.concat(frames))
  await answered
  return { refused }
}

async function makeTopics(port: number): Promise<void> {
  using client = await connectFrameClient(port)
  for (const topic of ['carts', 'other']) {
    const settings = [{ name: 'segment.bytes', value: '1048576' }]
    await client
      .request('createTopic', { topic, partitions: 1, replicationFactor: 1, settings })
      .catch((error: unknown) => assert.match(String(error), /found a topic of this name/))
  }
}

test('hostile: 80,000 mutated requests, each answered, none with internal; the healthy are served, also after kill -9', async (t) => {
  await using watched = await WatchedBroker.start(...flags)
  const before = watched.usage()
  const dice = new Dice(seed)
  let refused = 0
  const perConnection = 400
  const rounds = 80_000 / perConnection / connectionsAtOnce
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) await makeTopics(watched.port)
    const talks = Array.from({ length: connectionsAtOnce }, () =>
      Array.from({ length: perConnection }, (_, index) => mutatedRequest(dice, index + 100)),
    )
    const where = `seed ${seed}, round ${round}`
    const answers = await Promise.all(talks.map((frames) => exchange(watched, frames, where)))
    for (const answer of answers) refused += answer.refused
    const { rssBytes, descriptors } = watched.usage()
    assert.ok(rssBytes - before.rssBytes < grownBytesMax, `seed ${seed}, round ${round}: ${rssBytes} bytes`)
    assert.ok(descriptors < 2_000, `seed ${seed}, round ${round}: ${descriptors} descriptors`)
    if (round % 10 === 9) await watched.check()
  }
  assert.ok(refused > 1_000 && refused < 80_000 - 1_000, `${refused} refused`)
  await watched.check()
  t.diagnostic(
    `seed ${seed}: ${refused} refused; resident ${before.rssBytes >> 20} to ${watched.usage().rssBytes >> 20} MiB`,
  )
  await watched.restart(...flags)
})

test('hostile: 3,000 connections whose bytes are no frames, or end in the middle of one: a typed error or an end', async () => {
  await using watched = await WatchedBroker.start(...flags)
  const before = watched.usage()
  const dice = new Dice(seed)
  const hello = FrameClient.frame('hello', helloRequest)
  const frames = exampleFrames.map(({ bytes }) => bytes)
  const one = async (): Promise<void> => {
    using client = await FrameClient.open(watched.port)
    const bytes = mutateBytes(Buffer.concat([dice.pick(frames), dice.pick(frames)]), dice, frames)
    client.socket.end(dice.oneIn(2) ? bytes : Buffer.concat([hello, bytes]))
    await client.closed
    for (const error of client.unasked) assert.ok('code' in error && error.code !== 'internal', String(error))
  }
  for (let round = 0; round < 3_000 / 200; round++) await Promise.all(Array.from({ length: 200 }, one))
  await watched.check()
  await watched.settled(before.descriptors + 8)
})

/** Pipelined on one connection, the last one asking to close it. */
function converse(port: number, talk: readonly Buffer[]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const received: Buffer[] = []
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(Buffer.concat(talk)))
    socket.on('data', (bytes: Buffer) => received.push(bytes))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Closed under what we still sent: what was answered before counts.
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
    })
    socket.on('close', () => resolve(Buffer.concat(received)))
  })
}

test('hostile: 20,000 mutated HTTP requests: no answer is a 500, each connection ends, the healthy are served', async (t) => {
  // More at once would mostly show that overload is refused.
  const connections = 250
  await using watched = await WatchedBroker.start(...flags, '--http-request-wait-ms-max', '300')
  const before = watched.usage()
  await makeTopics(watched.port)
  const dice = new Dice(seed)
  const statuses = new Map<number, number>()
  const perConnection = 8
  for (let round = 0; round < 20_000 / perConnection / connections; round++) {
    const talks = Array.from({ length: connections }, () =>
      Array.from({ length: perConnection }, (_, index) => httpRequest(dice, index === perConnection - 1)),
    )
    const answers = await Promise.all(talks.map((talk) => converse(watched.httpPort, talk)))
    for (const [index, bytes] of answers.entries()) {
      for (const { status, body } of splitAnswers(bytes)) {
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        const sent = talks[index]
          ?.map((request) => request.toString('latin1'))
          .join('\n')
          .slice(0, 8192)
        assert.ok(status !== 500, `seed ${seed}, round ${round}: ${body}\n${sent}`)
      }
    }
    const { rssBytes } = watched.usage()
    assert.ok(rssBytes - before.rssBytes < grownBytesMax, `seed ${seed}, round ${round}: ${rssBytes} bytes`)
  }
  t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries([...statuses].toSorted(([a], [b]) => a - b)))}`)
  for (const status of [200, 201, 400, 404]) assert.ok((statuses.get(status) ?? 0) > 50, `few answers ${status}`)
  await watched.check()
  await watched.settled(before.descriptors + 8)
})

test('hostile: headers of the golden frames are what is mutated: every api of the table is among them', () => {
  assert.deepEqual(new Set(requests.map(({ api }) => api)), new Set(Object.keys(apis)))
  for (const { api, tree } of requests)
    assert.ok(
      encodeHeader(apis[api].request as Field<unknown>, decodeHeader<unknown>(apis[api].request, encodeTree(tree))),
    )
})
