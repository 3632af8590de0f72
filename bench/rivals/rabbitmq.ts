/**
 * RabbitMQ streams: one node with the stream plug-in, driven by a small Java program of ours on the official stream client. Erlang's port
 * mapper is started by us too, so that it ends with the node. A Peer; called by comparison.ts.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { throughput } from './figure.ts'
import type { Figure } from './figure.ts'
import type { Peer, StartedPeer, Workload } from './peer.ts'
import { RunningServer, freePort } from './running-server.ts'
import { scaled } from './scale.ts'
import type { Scale } from './scale.ts'
import { cacheFolder, fetchOnce, needPrograms, runTool } from './tool.ts'

const clientVersion = '1.2.0'
const driver = join(import.meta.dirname, 'rabbitmq-driver')
/** Past Debian's wrapper, which would change to the system's user and folders. */
const serverScript = '/usr/lib/rabbitmq/bin/rabbitmq-server'
const batch = 500
const subEntry = 100

function folder(): string {
  return join(cacheFolder(), `rabbitmq-stream-client-${clientVersion}`)
}

async function install(): Promise<string> {
  const programs = [serverScript, 'epmd', 'java', 'javac', 'mvn']
  await needPrograms(programs, ['rabbitmq-server', 'openjdk-17-jdk-headless', 'maven'])
  const pom = join(driver, 'pom.xml')
  const libs = join(folder(), 'libs')
  await fetchOnce(folder(), [
    ['mvn', '-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${libs}`],
  ])
  const version = (await runTool(['dpkg-query', '-W', '-f', '${Version}', 'rabbitmq-server'])).trim()
  return `RabbitMQ ${version}, stream-client ${clientVersion}`
}

/** Two processes: the node, and the port mapper it needs. */
class RabbitNode implements StartedPeer {
  readonly port: number
  readonly directory: string
  readonly #servers: readonly RunningServer[]

  constructor(port: number, directory: string, servers: readonly RunningServer[]) {
    this.port = port
    this.directory = directory
    this.#servers = servers
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.stop()
  }
}

async function start(directory: string): Promise<StartedPeer> {
  const port = await freePort()
  const [amqpPort, mapperPort, distributionPort] = [await freePort(), await freePort(), await freePort()]
  const plugins = join(directory, 'enabled_plugins')
  const settings = join(directory, 'rabbitmq.conf')
  await writeFile(plugins, '[rabbitmq_stream].')
  const lines = [
    `listeners.tcp.1 = 127.0.0.1:${amqpPort}`,
    `stream.listeners.tcp.1 = 127.0.0.1:${port}`,
    'stream.advertised_host = 127.0.0.1',
    `stream.advertised_port = ${port}`,
  ]
  await writeFile(settings, `${lines.join('\n')}\n`)
  await writeFile(join(directory, 'environment'), '')
  const environment = {
    HOME: directory, // for the Erlang cookie
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: 'playhead-bench@localhost',
    RABBITMQ_MNESIA_BASE: join(directory, 'data'),
    RABBITMQ_LOG_BASE: join(directory, 'log'),
    RABBITMQ_CONFIG_FILE: settings,
    RABBITMQ_ADVANCED_CONFIG_FILE: join(directory, 'none'),
    RABBITMQ_CONF_ENV_FILE: join(directory, 'environment'),
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
    RABBITMQ_NODE_PORT: String(amqpPort),
    RABBITMQ_DIST_PORT: String(distributionPort),
  }
  const logFile = join(directory, 'server.log')
  const mapper = await RunningServer.start({ name: 'epmd', command: ['epmd'], logFile, environment, port: mapperPort })
  try {
    const node = await RunningServer.start({ name: 'rabbitmq', command: [serverScript], logFile, environment, port })
    return new RabbitNode(port, directory, [node, mapper])
  } catch (error) {
    await mapper.stop()
    throw error
  }
}

function recordsFor(recordBytes: number, scale: Scale): number {
  return scaled(recordBytes === 100 ? 8_000_000 : 1_000_000, scale)
}

/** The program itself fails when a record is not confirmed, or does not come back in its place with its size. */
async function drive(
  work: 'produce' | 'consume',
  peer: StartedPeer,
  recordBytes: number,
  scale: Scale,
): Promise<Figure> {
  const amount = [recordsFor(recordBytes, scale), recordBytes, batch, subEntry].map(String)
  const java = ['java', '-Xmx1g', '-Xms1g', '-cp', join(folder(), 'libs', '*'), join(driver, 'StreamBench.java')]
  const printed = await runTool([...java, work, String(peer.port), `bench-${recordBytes}`, ...amount])
  const { records, seconds } = JSON.parse(printed) as { records: number; seconds: number }
  return throughput(records, seconds)
}

function workloadsOf(recordBytes: number): Workload[] {
  return [
    {
      tool: `stream-client, batchSize ${batch}, subEntrySize ${subEntry}`,
      ours: { kind: 'produce', recordBytes },
      metrics: ['recordsPerSecond'],
      on: ['default'],
      measure: (peer, scale) => drive('produce', peer, recordBytes, scale),
    },
    {
      tool: 'stream-client, 10 credits',
      ours: { kind: 'consume', recordBytes },
      metrics: ['recordsPerSecond'],
      on: ['default'],
      measure: (peer, scale) => drive('consume', peer, recordBytes, scale),
    },
  ]
}

export const rabbitmq: Peer = {
  name: 'rabbitmq',
  title: 'RabbitMQ streams',
  durability: { default: 'confirms from the page cache; has no setting to sync first' },
  settings: [
    'server: one node, stream plug-in, defaults',
    `client: SimpleCodec (bare bytes, no AMQP envelope); producer: batchSize ${batch}, subEntrySize ${subEntry} without compression, 100,000 unconfirmed at most; consumer: 10 credits; both -Xmx1g`,
  ],
  workloads: [...workloadsOf(100), ...workloadsOf(1024)],
  install,
  start,
}
