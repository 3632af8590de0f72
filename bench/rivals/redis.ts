/** Redis streams: one server with an append-only file, written by redis-benchmark and read by redis-client.ts. A Peer; called by comparison.ts. */
import { join } from 'node:path'
import { PlayheadError } from '../../protocol/errors.ts'
import { throughput } from './figure.ts'
import type { Figure } from './figure.ts'
import { SingleProcessPeer } from './peer.ts'
import type { Durability, Peer, StartedPeer, Workload } from './peer.ts'
import { RedisClient } from './redis-client.ts'
import { RunningServer, freePort } from './running-server.ts'
import { scaled } from './scale.ts'
import type { Scale } from './scale.ts'
import { needPrograms, runTool } from './tool.ts'

const entriesPerRead = 1_000

async function install(): Promise<string> {
  await needPrograms(['redis-server', 'redis-benchmark'], ['redis-server', 'redis-tools'])
  const version = /v=([\d.]+)/.exec(await runTool(['redis-server', '--version']))?.[1]
  return `Redis ${version ?? 'of unknown version'}`
}

async function start(directory: string, durability: Durability): Promise<StartedPeer> {
  const port = await freePort()
  const fsync = durability === 'durable' ? 'always' : 'everysec'
  const place = ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory]
  const persistence = [
    '--appendonly',
    'yes',
    '--appendfsync',
    fsync,
    '--save',
    '',
    '--auto-aof-rewrite-percentage',
    '0',
  ]
  const command = ['redis-server', ...place, ...persistence]
  const logFile = join(directory, 'server.log')
  return new SingleProcessPeer(port, directory, await RunningServer.start({ name: 'redis', command, logFile, port }))
}

function recordsFor(recordBytes: number, durability: Durability, scale: Scale): number {
  if (durability === 'durable') return scaled(300_000, scale)
  return scaled(recordBytes === 100 ? 2_500_000 : 600_000, scale)
}

async function produce(peer: StartedPeer, recordBytes: number, records: number): Promise<Figure> {
  const stream = `bench-${recordBytes}`
  const load = ['-p', String(peer.port), '-P', '64', '-c', '8', '-n', String(records), '--csv']
  const printed = await runTool(['redis-benchmark', ...load, 'XADD', stream, '*', 'v', 'v'.repeat(recordBytes)])
  const rate = Number(/^"XADD[^"]*","([\d.]+)"/m.exec(printed)?.[1])
  const client = await RedisClient.connect(peer.port)
  try {
    account('XADD', await client.streamLength(stream), records)
  } finally {
    client.close()
  }
  return throughput(records, records / rate)
}

async function consume(peer: StartedPeer, recordBytes: number, scale: Scale): Promise<Figure> {
  const records = recordsFor(recordBytes, 'default', scale)
  const client = await RedisClient.connect(peer.port)
  try {
    const startedMs = performance.now()
    const found = await client.readStream(`bench-${recordBytes}`, entriesPerRead, recordBytes)
    const seconds = (performance.now() - startedMs) / 1000
    account('XRANGE', found, records)
    return throughput(found, seconds)
  } finally {
    client.close()
  }
}

/** redis-benchmark rounds its requests up to full pipelines. */
function account(what: string, found: number, wanted: number): void {
  if (found < wanted || found > wanted + 64 * 8)
    throw new PlayheadError('unavailable', `redis ${what}: found ${found} records, wanted ${wanted}; run it again`)
}

function workloadsOf(recordBytes: number): Workload[] {
  const metrics = ['recordsPerSecond'] as const
  return [
    {
      tool: 'redis-benchmark -P 64 -c 8 XADD',
      ours: { kind: 'produce', recordBytes },
      metrics,
      on: ['default'],
      measure: (peer, scale) => produce(peer, recordBytes, recordsFor(recordBytes, 'default', scale)),
    },
    {
      tool: 'redis-benchmark -P 64 -c 8 XADD',
      ours: { kind: 'produce', recordBytes },
      metrics,
      on: ['durable'],
      measure: (peer, scale) => produce(peer, recordBytes, recordsFor(recordBytes, 'durable', scale)),
    },
    {
      tool: `XRANGE COUNT ${entriesPerRead.toLocaleString('en')}`,
      ours: { kind: 'consume', recordBytes },
      metrics,
      on: ['default'],
      measure: (peer, scale) => consume(peer, recordBytes, scale),
    },
  ]
}

export const redis: Peer = {
  name: 'redis',
  title: 'Redis streams',
  durability: {
    default: 'appendfsync everysec: acknowledges before it syncs',
    durable: 'appendfsync always',
  },
  settings: [
    'server: appendonly yes, no snapshots, no rewrite of the append-only file during the run',
    'reading: one connection, one XRANGE in flight, values not decoded',
  ],
  workloads: [...workloadsOf(100), ...workloadsOf(1024)],
  install,
  start,
}
