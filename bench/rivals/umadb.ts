/** UmaDB: an event store with conditions on tags that syncs before it acknowledges, driven by a small Rust program of ours. A Peer. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PlayheadError } from '../../protocol/errors.ts'
import { throughput } from './figure.ts'
import type { Figure, Latency } from './figure.ts'
import { SingleProcessPeer } from './peer.ts'
import type { Peer, StartedPeer, Workload } from './peer.ts'
import { RunningServer, freePort } from './running-server.ts'
import { scaled } from './scale.ts'
import type { Scale } from './scale.ts'
import { cacheFolder, fetchOnce, fetchWith, needPrograms, runTool } from './tool.ts'

const version = '0.7.8'
const streams = 10_000
const recordBytes = 200
const connections = 4
const pageCacheMb = 256
const driverSource = join(import.meta.dirname, 'umadb-driver')

function folder(): string {
  return join(cacheFolder(), `umadb-${version}`)
}

async function install(): Promise<string> {
  await needPrograms(['cargo', 'protoc', 'python3'], ['cargo', 'protobuf-compiler', 'python3-venv'])
  const venv = join(folder(), 'venv')
  await fetchOnce(folder(), [
    ['python3', '-m', 'venv', venv],
    [join(venv, 'bin', 'pip'), 'install', '--quiet', `umadb==${version}`],
  ])
  const manifest = ['--manifest-path', join(driverSource, 'Cargo.toml'), '--target-dir', join(folder(), 'target')]
  await fetchWith(['cargo', 'build', '--quiet', '--release', '--locked', ...manifest])
  return `UmaDB ${version}, umadb-client ${version} (Rust)`
}

async function start(directory: string): Promise<StartedPeer> {
  const port = await freePort()
  const data = join(directory, 'data')
  await mkdir(data)
  const place = ['--listen', `127.0.0.1:${port}`, '--db-path', data]
  const command = [join(folder(), 'venv', 'bin', 'umadb'), ...place, '--page-cache-max-mb', String(pageCacheMb)]
  const logFile = join(directory, 'server.log')
  return new SingleProcessPeer(port, directory, await RunningServer.start({ name: 'umadb', command, logFile, port }))
}

/** The program reads everything back; on one server the second run finds what the first wrote too. */
async function append(peer: StartedPeer, inFlight: number, scale: Scale): Promise<Figure> {
  const records = scaled(120_000, scale)
  const place = [join(folder(), 'target', 'release', 'umadb-driver'), `http://127.0.0.1:${peer.port}`]
  const prefix = `in-flight-${inFlight}`
  const amount = [records, recordBytes, streams, inFlight, connections].map(String)
  const done = JSON.parse(await runTool([...place, prefix, ...amount])) as {
    records: number
    seconds: number
    readBack: number
    latencyMs: Latency
  }
  if (done.readBack !== done.records || done.records !== records)
    throw new PlayheadError(
      'unavailable',
      `umadb: found ${done.readBack} of ${done.records} events read back, wanted ${records}; run it again`,
    )
  return { ...throughput(records, done.seconds), latencyMs: done.latencyMs }
}

function workloadOf(inFlight: number): Workload {
  return {
    tool: `umadb-client (Rust), ${connections} connections`,
    ours: { kind: 'conditionalAppend', recordBytes, streams, inFlight },
    metrics: ['recordsPerSecond', 'p50', 'p99'],
    on: ['default'],
    measure: (peer, scale) => append(peer, inFlight, scale),
  }
}

export const umadb: Peer = {
  name: 'umadb',
  title: 'UmaDB',
  durability: { default: 'syncs before it acknowledges' },
  settings: [
    `server: --page-cache-max-mb ${pageCacheMb} (its default is none), else defaults`,
    'client: one event a call, on condition that the stream (its tag) has no event after the last one this client wrote',
  ],
  workloads: [workloadOf(64), workloadOf(1_024)],
  install,
  start,
}
