/**
 * Kafka 4.1.0: one KRaft node, driven by its own tools, by librdkafka's (kcat) and, for latency at a set rate, by a small Java program of ours,
 * since its own EndToEndLatency keeps one record in flight. A Peer; called by comparison.ts.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PlayheadError } from '../../protocol/errors.ts'
import { throughput } from './figure.ts'
import type { Figure, Latency } from './figure.ts'
import type { OurWork } from './our-work.ts'
import { SingleProcessPeer } from './peer.ts'
import type { Durability, Peer, StartedPeer, Workload } from './peer.ts'
import { RunningServer, freePort } from './running-server.ts'
import { endToEndSeconds, recordsPerSecondEndToEnd, scaled, warmUpSeconds } from './scale.ts'
import type { Scale } from './scale.ts'
import { cacheFolder, fetchOnce, needPrograms, runTool } from './tool.ts'

const version = '4.1.0'
const driver = join(import.meta.dirname, 'kafka-driver')
const distinctValues = 500

/** What Kafka's start scripts give the JVM. */
const gc = ['-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20', '-XX:InitiatingHeapOccupancyPercent=35']
export const kafkaProducerSettings = ['batch.size=262144', 'linger.ms=5']
const kcatClient = 'batch.size=262144 linger.ms=5 queue.buffering.max.messages=2000000 batch.num.messages=100000'

interface Written {
  readonly topic: string
  readonly records: number
}

function folder(): string {
  return join(cacheFolder(), `kafka-${version}`)
}

export function kafkaJava(heap: string, ...args: readonly string[]): string[] {
  return ['java', `-Xmx${heap}`, `-Xms${heap}`, ...gc, '-cp', join(folder(), 'libs', '*'), ...args]
}

function bootstrap({ port }: StartedPeer): string {
  return `127.0.0.1:${port}`
}

function recordsFor(recordBytes: number, scale: Scale): number {
  return scaled(recordBytes === 100 ? 4_000_000 : 600_000, scale)
}

const values = (recordBytes: number, count: number): string =>
  Array.from({ length: count }, (_, index) => `${index} `.padEnd(recordBytes, 'abcdefghijklmnopqrstuvwxyz')).join('\n')

/** The first of these is what the reading tools read. */
function topicsWritten(recordBytes: number, durability: Durability, scale: Scale): Written[] {
  const records = recordsFor(recordBytes, scale)
  const writers = durability === 'durable' ? ['all'] : ['all', '1', 'kcat']
  return writers.map((writer) => ({ topic: `${writer}-${recordBytes}`, records }))
}

export async function installKafka(): Promise<string> {
  await needPrograms(['java', 'javac', 'mvn', 'kcat'], ['openjdk-17-jdk-headless', 'maven', 'kcat'])
  const pom = join(driver, 'pom.xml')
  const libs = join(folder(), 'libs')
  await fetchOnce(folder(), [
    ['mvn', '-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${libs}`],
  ])
  const librdkafka = /librdkafka ([\d.]+)/.exec(await runTool(['kcat', '-V']))?.[1]
  return `Kafka ${version}, librdkafka ${librdkafka ?? 'of unknown version'}`
}

async function start(directory: string, durability: Durability): Promise<StartedPeer> {
  const port = await freePort()
  const controllerPort = await freePort()
  const settings = join(directory, 'server.properties')
  const lines = [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
    `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'controller.listener.names=CONTROLLER',
    `log.dirs=${join(directory, 'data')}`,
    'offsets.topic.replication.factor=1',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    'offsets.topic.num.partitions=1',
    'group.initial.rebalance.delay.ms=0',
    ...(durability === 'durable' ? ['log.flush.interval.messages=1'] : []),
  ]
  await writeFile(settings, lines.join('\n'))
  await runTool(kafkaJava('256m', 'kafka.tools.StorageTool', 'format', '-t', 'MkU3OEVBNTcwNTJENDM2Qk', '-c', settings))
  const logFile = join(directory, 'server.log')
  const server = await RunningServer.start({
    name: 'kafka',
    command: kafkaJava('1g', 'kafka.Kafka', settings),
    logFile,
    port,
  })
  const peer = new SingleProcessPeer(port, directory, server)
  const topics = [100, 1024].flatMap((size) => [`all-${size}`, `1-${size}`, `kcat-${size}`])
  await runTool(kafkaJava('256m', join(driver, 'TopicAdmin.java'), 'create', bootstrap(peer), ...topics, 'end-to-end'))
  for (const recordBytes of [100, 1024]) {
    await writeFile(join(directory, `values-${recordBytes}`), values(recordBytes, distinctValues))
  }
  return peer
}

/** Values come from a file: otherwise the tool draws each byte of each record at random, and is itself what bounds the rate. */
async function produce(peer: StartedPeer, recordBytes: number, acks: string, scale: Scale): Promise<Figure> {
  const records = recordsFor(recordBytes, scale)
  const tool = ['org.apache.kafka.tools.ProducerPerformance', '--topic', `${acks}-${recordBytes}`]
  const amount = ['--num-records', String(records), '--throughput', '-1']
  const payload = ['--payload-file', join(peer.directory, `values-${recordBytes}`)]
  const settings = [
    '--producer-props',
    `bootstrap.servers=${bootstrap(peer)}`,
    `acks=${acks}`,
    ...kafkaProducerSettings,
  ]
  const rate = kafkaRate(await runTool(kafkaJava('1g', ...tool, ...amount, ...payload, ...settings)), records)
  return throughput(records, records / rate)
}

/** Records a second, as ProducerPerformance printed it at its end. */
export function kafkaRate(printed: string, records: number): number {
  const summary = printed.trim().split('\n').at(-1) ?? ''
  const [, sent = '', rate = ''] = /^(\d+) records sent, ([\d.]+) records\/sec/.exec(summary) ?? []
  account('ProducerPerformance', Number(sent), records)
  return Number(rate)
}

/** Lines of a payload file: ones drawn byte by byte would bound the rate. */
export const kafkaValues = (recordBytes: number): string => values(recordBytes, distinctValues)

async function consume(peer: StartedPeer, recordBytes: number, scale: Scale): Promise<Figure> {
  const records = recordsFor(recordBytes, scale)
  const tool = ['org.apache.kafka.tools.ConsumerPerformance', '--bootstrap-server', bootstrap(peer), '--hide-header']
  const amount = ['--topic', `all-${recordBytes}`, '--messages', String(records), '--timeout', '60000']
  const printed = await runTool(kafkaJava('1g', ...tool, ...amount))
  const fields = (printed.trim().split('\n').at(-1) ?? '').split(', ').map((field) => field.trim())
  account('ConsumerPerformance', Number(fields[4]), records)
  return throughput(records, Number(fields[7]) / 1000) // without the time to join the group: Kafka's better figure
}

const kcatSettings = (acks: string): string[] =>
  [`acks=${acks}`, ...kcatClient.split(' ')].flatMap((setting) => ['-X', setting])

/** kcat tells no times of its own: this is from its start to its end. */
async function kcatProduce(peer: StartedPeer, recordBytes: number, scale: Scale): Promise<Figure> {
  const records = recordsFor(recordBytes, scale)
  const file = join(peer.directory, `lines-${recordBytes}`)
  const block = `${values(recordBytes, 1024)}\n`
  await writeFile(
    file,
    (function* () {
      for (let written = 0; written < records; written += 1024) yield block
    })(),
  )
  const startedMs = performance.now()
  await runTool(['kcat', '-P', '-b', bootstrap(peer), '-t', `kcat-${recordBytes}`, '-l', file, ...kcatSettings('1')])
  return throughput(records, (performance.now() - startedMs) / 1000)
}

async function kcatConsume(peer: StartedPeer, recordBytes: number, scale: Scale): Promise<Figure> {
  const records = recordsFor(recordBytes, scale)
  const place = ['-t', `all-${recordBytes}`, '-p', '0', '-o', 'beginning', '-c', String(records), '-q']
  const startedMs = performance.now()
  await runTool(['kcat', '-C', '-b', bootstrap(peer), ...place], { discardOutput: true })
  return throughput(records, (performance.now() - startedMs) / 1000)
}

async function endToEnd(peer: StartedPeer, recordBytes: number, scale: Scale): Promise<Figure> {
  const records = Math.round((recordsPerSecondEndToEnd * endToEndSeconds) / scale.divisor)
  const amount = [records, recordsPerSecondEndToEnd, recordBytes, recordsPerSecondEndToEnd * warmUpSeconds].map(String)
  const printed = await runTool(
    kafkaJava('1g', join(driver, 'EndToEndAtRate.java'), bootstrap(peer), 'end-to-end', ...amount),
  )
  const { records: seen, latencyMs } = JSON.parse(printed) as { records: number; latencyMs: Latency }
  account('EndToEndAtRate', seen, records)
  return { records, latencyMs }
}

/** The broker must hold what the tools say they wrote. */
async function check(peer: StartedPeer, scale: Scale, durability: Durability): Promise<void> {
  const written = [100, 1024].flatMap((recordBytes) => topicsWritten(recordBytes, durability, scale))
  const topics = written.map(({ topic }) => topic)
  const printed = await runTool(kafkaJava('256m', join(driver, 'TopicAdmin.java'), 'count', bootstrap(peer), ...topics))
  const counts = JSON.parse(printed) as Record<string, number>
  for (const { topic, records } of written) {
    account(`topic ${topic}`, counts[topic] ?? 0, records)
  }
}

function account(what: string, found: number, wanted: number): void {
  if (found < wanted || found > wanted * 1.01)
    throw new PlayheadError('unavailable', `kafka ${what}: found ${found} records, wanted ${wanted}; run it again`)
}

function workloadsOf(recordBytes: number): Workload[] {
  const produced: OurWork = { kind: 'produce', recordBytes }
  const consumed: OurWork = { kind: 'consume', recordBytes }
  const metrics = ['recordsPerSecond'] as const
  return [
    {
      tool: 'ProducerPerformance acks=all',
      ours: produced,
      metrics,
      on: ['default', 'durable'],
      measure: (peer, scale) => produce(peer, recordBytes, 'all', scale),
    },
    {
      tool: 'ProducerPerformance acks=1',
      ours: produced,
      metrics,
      on: ['default'],
      measure: (peer, scale) => produce(peer, recordBytes, '1', scale),
    },
    {
      tool: 'kcat -P acks=1',
      ours: produced,
      metrics,
      on: ['default'],
      measure: (peer, scale) => kcatProduce(peer, recordBytes, scale),
    },
    {
      tool: 'ConsumerPerformance',
      ours: consumed,
      metrics,
      on: ['default'],
      measure: (peer, scale) => consume(peer, recordBytes, scale),
    },
    {
      tool: 'kcat -C',
      ours: consumed,
      metrics,
      on: ['default'],
      measure: (peer, scale) => kcatConsume(peer, recordBytes, scale),
    },
  ]
}

export const kafka: Peer = {
  name: 'kafka',
  title: 'Kafka',
  durability: {
    default: 'acknowledges from the page cache, no sync',
    durable: 'log.flush.interval.messages=1: syncs before it acknowledges',
  },
  settings: [
    `server: KRaft, one node, -Xmx1g -Xms1g ${gc.join(' ')}, group.initial.rebalance.delay.ms=0`,
    `Kafka's tools: -Xmx1g, ${kafkaProducerSettings.join(' ')}, values from a file; ConsumerPerformance counts from its first fetch`,
    `kcat: ${kcatClient}; timed from start to end of the process, output discarded`,
    `latency: a Java producer (acks=all, linger.ms=0) and consumer in one process at ${recordsPerSecondEndToEnd} records/s, measured from the intended send time after ${warmUpSeconds} s of warm-up on both sides`,
  ],
  workloads: [
    ...workloadsOf(100),
    ...workloadsOf(1024),
    {
      tool: 'Java producer and consumer, acks=all',
      ours: { kind: 'endToEnd', recordBytes: 100 },
      metrics: ['p50', 'p99'],
      on: ['default', 'durable'],
      measure: (peer, scale) => endToEnd(peer, 100, scale),
    },
  ],
  install: installKafka,
  start,
  check,
}
