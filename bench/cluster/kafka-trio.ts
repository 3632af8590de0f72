/**
 * KafkaTrio: three Kafka 4.1.0 nodes of one cluster (KRaft, each broker and controller) on this machine, topics with three replicas of which two must be in
 * sync. Kafka answers before anything is on a disk. Driven by its own ProducerPerformance. Called by run.ts.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { installKafka, kafkaJava, kafkaProducerSettings, kafkaRate, kafkaValues } from '../rivals/kafka.ts'
import { RunningServer, freePort } from '../rivals/running-server.ts'
import { runTool } from '../rivals/tool.ts'

const ids = [1, 2, 3]
const clusterId = 'MkU3OEVBNTcwNTJENDM2Qk'

export class KafkaTrio implements AsyncDisposable {
  readonly #directory: string
  readonly #bootstrap: string
  readonly #servers: readonly RunningServer[]

  private constructor(directory: string, bootstrap: string, servers: readonly RunningServer[]) {
    this.#directory = directory
    this.#bootstrap = bootstrap
    this.#servers = servers
  }

  static async start(directory: string): Promise<KafkaTrio> {
    await installKafka()
    const ports = await Promise.all(ids.map(freePort))
    const controllerPorts = await Promise.all(ids.map(freePort))
    const voters = ids.map((id, place) => `${id}@127.0.0.1:${controllerPorts[place]}`).join(',')
    const servers = await Promise.all(
      ids.map(async (id, place) => {
        const own = join(directory, `kafka-${id}`)
        const settings = join(own, 'server.properties')
        const [port, controllerPort] = [ports[place]!, controllerPorts[place]]
        await mkdir(own, { recursive: true })
        const lines = [
          'process.roles=broker,controller',
          `node.id=${id}`,
          `controller.quorum.voters=${voters}`,
          `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
          'controller.listener.names=CONTROLLER',
          `log.dirs=${join(own, 'data')}`,
        ]
        await writeFile(settings, lines.join('\n'))
        await runTool(kafkaJava('256m', 'kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', settings))
        const command = kafkaJava('1g', 'kafka.Kafka', settings)
        return RunningServer.start({ name: `kafka-${id}`, command, logFile: join(own, 'server.log'), port })
      }),
    )
    return new KafkaTrio(directory, ports.map((port) => `127.0.0.1:${port}`).join(','), servers)
  }

  /** Records a second, acks=all. */
  async produce(topic: string, recordBytes: number, records: number): Promise<number> {
    const admin = ['org.apache.kafka.tools.TopicCommand', '--bootstrap-server', this.#bootstrap, '--create']
    const placed = ['--topic', topic, '--partitions', '1', '--replication-factor', '3']
    await runTool(kafkaJava('256m', ...admin, ...placed, '--config', 'min.insync.replicas=2'))
    const payload = join(this.#directory, `values-${recordBytes}`)
    await writeFile(payload, kafkaValues(recordBytes))
    const tool = ['org.apache.kafka.tools.ProducerPerformance', '--topic', topic, '--payload-file', payload]
    const amount = ['--num-records', String(records), '--throughput', '-1']
    const settings = ['--producer-props', `bootstrap.servers=${this.#bootstrap}`, 'acks=all', ...kafkaProducerSettings]
    return kafkaRate(await runTool(kafkaJava('1g', ...tool, ...amount, ...settings)), records)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()))
  }
}
