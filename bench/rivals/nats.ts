/** NATS JetStream: one server with file storage, driven by a small Go program of ours on nats.go. A Peer; called by comparison.ts. */
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { PlayheadError } from '../../protocol/errors.ts'
import { throughput } from './figure.ts'
import type { Figure } from './figure.ts'
import { SingleProcessPeer } from './peer.ts'
import type { Durability, Peer, StartedPeer, Workload } from './peer.ts'
import { RunningServer, freePort } from './running-server.ts'
import { scaled } from './scale.ts'
import type { Scale } from './scale.ts'
import { cacheFolder, fetchOnce, fetchWith, needPrograms, runTool } from './tool.ts'

const version = '2.15.2'
const driverSource = join(import.meta.dirname, 'nats-driver')

function folder(): string {
  return join(cacheFolder(), `nats-${version}`)
}

async function install(): Promise<string> {
  await needPrograms(['go'], ['golang-go'])
  const module = `github.com/nats-io/nats-server/v2@v${version}`
  await fetchOnce(folder(), [['go', 'install', module]], { GOBIN: folder() })
  await fetchWith(['go', 'build', '-C', driverSource, '-o', join(folder(), 'nats-driver'), '.'])
  const client = /nats\.go (v\S+)/.exec(await runTool(['go', 'list', '-C', driverSource, '-m', 'all']))?.[1]
  return `nats-server ${version}, nats.go ${client ?? 'of unknown version'}`
}

async function start(directory: string, durability: Durability): Promise<StartedPeer> {
  const port = await freePort()
  const sync = durability === 'durable' ? 'sync_interval: always' : ''
  const settings = join(directory, 'nats.conf')
  await writeFile(
    settings,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: ${JSON.stringify(join(directory, 'data'))}\n${sync}\n}\n`,
  )
  const command = [join(folder(), 'nats-server'), '-c', settings]
  const logFile = join(directory, 'server.log')
  return new SingleProcessPeer(port, directory, await RunningServer.start({ name: 'nats', command, logFile, port }))
}

function recordsFor(recordBytes: number, durability: Durability, scale: Scale): number {
  if (durability === 'durable') return scaled(20_000, scale)
  return scaled(recordBytes === 100 ? 1_500_000 : 800_000, scale)
}

async function drive(
  work: 'produce' | 'consume',
  peer: StartedPeer,
  recordBytes: number,
  records: number,
): Promise<Figure> {
  const place = [`nats://127.0.0.1:${peer.port}`, `bench-${recordBytes}`]
  const printed = await runTool([join(folder(), 'nats-driver'), work, ...place, String(records), String(recordBytes)])
  const done = JSON.parse(printed) as { records: number; seconds: number }
  if (done.records !== records)
    throw new PlayheadError(
      'unavailable',
      `nats ${work}: found ${done.records} records, wanted ${records}; run it again`,
    )
  return throughput(records, done.seconds)
}

function workloadsOf(recordBytes: number): Workload[] {
  const metrics = ['recordsPerSecond'] as const
  return [
    {
      tool: 'nats.go, asynchronous publish, 4,000 pending',
      ours: { kind: 'produce', recordBytes },
      metrics,
      on: ['default'],
      measure: (peer, scale) => drive('produce', peer, recordBytes, recordsFor(recordBytes, 'default', scale)),
    },
    {
      tool: 'nats.go, asynchronous publish, 4,000 pending',
      ours: { kind: 'produce', recordBytes },
      metrics,
      on: ['durable'],
      measure: (peer, scale) => drive('produce', peer, recordBytes, recordsFor(recordBytes, 'durable', scale)),
    },
    {
      tool: 'nats.go, ordered consumer, 10,000 a pull',
      ours: { kind: 'consume', recordBytes },
      metrics,
      on: ['default'],
      measure: (peer, scale) => drive('consume', peer, recordBytes, recordsFor(recordBytes, 'default', scale)),
    },
  ]
}

export const nats: Peer = {
  name: 'nats',
  title: 'NATS JetStream',
  durability: {
    default: 'acknowledges from the page cache; syncs every 2 minutes',
    durable: 'sync_interval: always',
  },
  settings: ['server: file storage, one replica', 'client: nats.go, one connection'],
  workloads: [...workloadsOf(100), ...workloadsOf(1024)],
  install,
  start,
}
