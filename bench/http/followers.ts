/**
 * `node bench/http/followers.ts [--followers 1000] [--rate 1000] [--seconds 20]`: followers of one topic over HTTP (server-sent events) while events are appended at a
 * rate, one at a time. Every follower is checked: every event, in order, once. Tells the time of an append with and without followers, and the most memory that
 * the broker took in each of the two, and in each quarter of the second: memory that is bounded does not grow from quarter to quarter. Broker, followers and load are processes of their own. Prints one JSON line; ends with 1 when a follower missed something.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    followers: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '20' },
    directory: { type: 'string', default: tmpdir() },
    port: { type: 'string' },
    /** Of the process that follows: what was appended before. */
    from: { type: 'string', default: '0' },
  },
})
const followers = Number(values.followers)
const rate = Number(values.rate)
const seconds = Number(values.seconds)
const root = join(import.meta.dirname, '..', '..')
const startedWaitMs = 60_000

if (values.port === undefined) await run()
else await follow(Number(values.port))

async function run(): Promise<void> {
  const directory = await mkdtemp(join(values.directory, 'playhead-followers-'))
  const limits = ['--connections-max', '5000', '--connections-per-address-max', '5000', '--followers-max', '5000']
  const broker = spawn(
    join(root, 'bin', 'playhead'),
    ['serve', '--json', '--data', join(directory, 'data'), '--port', '0', '--http-port', '0', ...limits],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  try {
    const { httpPort } = JSON.parse(await nextLine(broker)) as { httpPort: number }
    await fetch(`http://127.0.0.1:${httpPort}/api/topics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"topic":"news"}',
    })
    const aloneMemory = watchMemory(httpPort)
    const alone = await appendAtRate(httpPort)
    const aloneRssMb = Math.max(...(await aloneMemory()))
    const before = await statusOf(httpPort)
    const reader = spawnFollowers(httpPort, alone.appended)
    const readerLines = lines(reader)
    await readerLines.next()
    const memory = watchMemory(httpPort)
    const followed = await appendAtRate(httpPort)
    const rssMb = await memory()
    const status = await statusOf(httpPort)
    reader.stdin?.write(`${alone.appended + followed.appended}\n`)
    const heard = JSON.parse((await readerLines.next()).value ?? '{}') as { wrong: number; complete: number }
    console.log(
      JSON.stringify({
        bench: 'http-followers',
        followers,
        rate,
        seconds,
        alone,
        followed,
        ...heard,
        p99Ratio: Number((followed.p99Ms / alone.p99Ms).toFixed(2)),
        /** Of the broker's processor time while it was followed, connecting included: what does not depend on who else is on the machine. */
        cpuMsPerThousandAppends: Math.round(((status.cpuMs - before.cpuMs) / followed.appended) * 1_000),
        aloneRssMb,
        followedRssMb: Math.max(...rssMb),
        rssMbByQuarter: quarters(rssMb),
        paused: status.counters['followersPaused'],
        dropped: status.counters['followersDropped'],
        node: process.version,
        cpu: cpus()[0]?.model,
        cores: cpus().length,
      }),
    )
    process.exitCode = heard.wrong === 0 && heard.complete === followers ? 0 : 1
  } finally {
    broker.kill('SIGTERM')
    await once(broker, 'exit')
    await rm(directory, { recursive: true, force: true })
  }
}

async function statusOf(port: number): Promise<Status> {
  return (await (await fetch(`http://127.0.0.1:${port}/api/status`)).json()) as Status
}

interface Status {
  readonly cpuMs: number
  readonly rssBytes: number
  readonly counters: Readonly<Record<string, number>>
}

function spawnFollowers(port: number, from: number): ChildProcess {
  const args = ['--followers', values.followers, '--from', String(from), '--port', String(port)]
  return spawn(process.execPath, [import.meta.filename, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
}

/** Looks every quarter of a second; the answer ends it and tells what was seen, MB. */
function watchMemory(port: number): () => Promise<number[]> {
  const seen: number[] = []
  const state = { isOver: false }
  const watching = (async () => {
    while (!state.isOver) {
      const { rssBytes } = await statusOf(port)
      seen.push(Math.round(rssBytes / 2 ** 20))
      await pause(250)
    }
  })()
  return async () => {
    state.isOver = true
    await watching
    return seen
  }
}

function quarters(seen: readonly number[]): number[] {
  const size = Math.ceil(seen.length / 4)
  return [0, 1, 2, 3].map((quarter) => Math.max(0, ...seen.slice(quarter * size, (quarter + 1) * size)))
}

async function* lines(child: ChildProcess): AsyncGenerator<string, undefined> {
  if (child.stdout !== null) yield* createInterface({ input: child.stdout })
  return undefined
}

async function nextLine(child: ChildProcess): Promise<string> {
  return (await lines(child).next()).value ?? ''
}

/** When each append was due until its answer: what it waits for a busy broker counts. 32 connections, each with one append under way. */
async function appendAtRate(port: number): Promise<{ appended: number; p50Ms: number; p99Ms: number }> {
  const body = JSON.stringify({ type: 'Said', data: { text: 'x'.repeat(60) } })
  const request = `POST /api/topics/news/streams/s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const idle = await Promise.all(
    Array.from({ length: 32 }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      return socket
    }),
  )
  const all = [...idle]
  const tookMs: number[] = []
  const startedMs = performance.now()
  let due = 0
  const wanted = rate * seconds
  while (tookMs.length < wanted) {
    const nowMs = performance.now() - startedMs
    while (due < wanted && (due / rate) * 1_000 <= nowMs && idle.length > 0) {
      const dueMs = (due++ / rate) * 1_000
      const socket = idle.pop()
      socket?.once('data', () => {
        tookMs.push(performance.now() - startedMs - dueMs)
        idle.push(socket)
      })
      socket?.write(request)
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
  for (const socket of all) socket.destroy()
  tookMs.sort((a, b) => a - b)
  const at = (share: number) => Number((tookMs[Math.floor(tookMs.length * share)] ?? Number.NaN).toFixed(2))
  return { appended: wanted, p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** The followers: says when all are connected, is told how far they should come, answers how they did. */
async function follow(port: number): Promise<void> {
  const id = Buffer.from('\nid: 0:')
  const state = Array.from({ length: followers }, () => ({ next: Number(values.from), wrong: 0, isConnected: false }))
  const seen = { connected: 0 }
  for (const each of state) {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.write('GET /api/topics/news/follow?from=end HTTP/1.1\r\nHost: localhost\r\n\r\n')
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (bytes: Buffer) => {
      if (!each.isConnected) seen.connected++
      each.isConnected = true
      const text = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
      let seenTo = 0
      for (let at = text.indexOf(id); at >= 0; at = text.indexOf(id, at + 1)) {
        const end = text.indexOf(10, at + id.length)
        if (end < 0) break
        const next = Number(text.toString('latin1', at + id.length, end))
        if (next !== each.next + 1) each.wrong++
        each.next = next
        seenTo = end
      }
      rest = Buffer.from(text.subarray(Math.max(seenTo, text.length - 64)))
    })
  }
  const startedMs = performance.now()
  const isLate = () => performance.now() - startedMs > startedWaitMs
  for (; seen.connected < state.length && !isLate(); ) await pause(20)
  console.log('connected')
  const [wanted] = (await once(createInterface({ input: process.stdin }), 'line')) as [string]
  const complete = () => state.filter(({ next }) => next === Number(wanted)).length
  const askedMs = performance.now()
  while (complete() < followers && performance.now() - askedMs < startedWaitMs) await pause(20)
  console.log(JSON.stringify({ complete: complete(), wrong: state.reduce((sum, { wrong }) => sum + wrong, 0) }))
  process.exit(0)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
