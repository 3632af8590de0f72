/**
 * `node bench/http/appends.ts [--connections 64] [--seconds 10] [--streams 10000] [--directory DIR] [--profile]`: single appends through HTTP/1.1 keep-alive, one request under way per
 * connection, each acknowledged when it is durable. The broker is a process of its own; the load is raw sockets, so that what is measured is the
 * broker and not a client. Prints one JSON line.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '10' },
    streams: { type: 'string', default: '10000' },
    /** Where the data goes, on the disk to be measured. */
    directory: { type: 'string', default: tmpdir() },
    profile: { type: 'boolean', default: false },
  },
})
const connections = Number(values.connections)
const seconds = Number(values.seconds)
const streams = Number(values.streams)
const warmUpMs = 3_000
const body = JSON.stringify({ type: 'ItemAdded', data: { sku: '85123A', quantity: 6, note: 'x'.repeat(40) } })
const root = join(import.meta.dirname, '..', '..')

const directory = await mkdtemp(join(values.directory, 'playhead-http-bench-'))
const broker = spawn(
  join(root, 'bin', 'playhead'),
  ['serve', '--json', '--data', join(directory, 'data'), '--port', '0', '--http-port', '0'],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      ...(values.profile && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${tmpdir()}/http-profile` }),
    },
  },
)
try {
  const [line] = (await once(createInterface({ input: broker.stdout }), 'line')) as [string]
  const { httpPort } = JSON.parse(line) as { httpPort: number }
  await fetch(`http://127.0.0.1:${httpPort}/api/topics`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"topic":"carts"}',
  })
  const figures = await measure(httpPort)
  const status = await brokerStatus(httpPort)
  const syncs = status.counters['syncs'] ?? 0
  console.log(
    JSON.stringify({
      bench: 'http-appends',
      connections,
      streams,
      ...figures,
      appendsPerSync: Math.round((status.counters['appendedRecords'] ?? 0) / Math.max(1, syncs)),
      brokerRssMb: Math.round(status.rssBytes / 2 ** 20),
      node: process.version,
      cpu: cpus()[0]?.model,
      cores: cpus().length,
    }),
  )
} finally {
  broker.kill('SIGTERM')
  await once(broker, 'exit')
  await rm(directory, { recursive: true, force: true })
}

interface Status {
  readonly rssBytes: number
  readonly cpuMs: number
  readonly counters: Readonly<Record<string, number>>
}

async function measure(port: number): Promise<object> {
  const latenciesMs: number[] = []
  const state = { appended: 0, failed: 0, measuring: false, stopping: false }
  const sockets = await Promise.all(
    Array.from({ length: connections }, (_, index) => open(port, index, state, latenciesMs)),
  )
  await wait(warmUpMs)
  const statusBefore = await brokerStatus(port)
  const before = { appended: state.appended, cpu: process.cpuUsage() }
  state.measuring = true
  const startedMs = performance.now()
  await wait(seconds * 1_000)
  const tookMs = performance.now() - startedMs
  const appended = state.appended - before.appended
  const { user, system } = process.cpuUsage(before.cpu)
  const status = await brokerStatus(port)
  const recordsBetween = (status.counters['appendedRecords'] ?? 0) - (statusBefore.counters['appendedRecords'] ?? 0)
  state.stopping = true
  for (const socket of sockets) socket.destroy()
  latenciesMs.sort((a, b) => a - b)
  const at = (share: number) => Number((latenciesMs[Math.floor(latenciesMs.length * share)] ?? Number.NaN).toFixed(2))
  return {
    appendsPerSecond: Math.round((appended / tookMs) * 1_000),
    failed: state.failed,
    brokerCpuMicrosPerAppend: Number((((status.cpuMs - statusBefore.cpuMs) * 1_000) / recordsBetween).toFixed(1)),
    latencyMs: { p50: at(0.5), p95: at(0.95), p99: at(0.99) },
    loadCpuShare: Number(((user + system) / 1_000 / tookMs).toFixed(2)),
  }
}

/** A connection that sends its next request when the answer to the one before has come. */
async function open(
  port: number,
  index: number,
  state: { appended: number; failed: number; measuring: boolean; stopping: boolean },
  latenciesMs: number[],
): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const requests = Array.from({ length: Math.max(1, Math.floor(streams / connections)) }, (_, turn) =>
    Buffer.from(
      `POST /api/topics/carts/streams/customer-${index + turn * connections} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    ),
  )
  let next = 0
  let sentMs = 0
  const send = () => {
    sentMs = performance.now()
    socket.write(requests[next++ % requests.length] ?? '')
  }
  let text = ''
  socket.on('data', (bytes) => {
    text += String(bytes)
    // The answer is short: it has come whole when its JSON ends.
    if (!text.endsWith('}')) return
    if (text.startsWith('HTTP/1.1 201')) state.appended++
    else state.failed++
    text = ''
    if (state.measuring) latenciesMs.push(performance.now() - sentMs)
    if (!state.stopping) send()
  })
  send()
  return socket
}

async function brokerStatus(port: number): Promise<Status> {
  return (await (await fetch(`http://127.0.0.1:${port}/api/status`)).json()) as Status
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
