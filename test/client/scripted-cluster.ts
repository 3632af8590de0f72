/**
 * ScriptedCluster: several ScriptedBrokers that have the same partitions, of which one leads each: what is written at one is there at all, as what is
 * acknowledged is in a cluster. The test says who leads, and who of the brokers has heard of it.
 */
import type { ConnectOptions, Playhead } from '../../client/index.ts'
import { connect } from '../../client/index.ts'
import { MemoryTransport } from './memory-transport.ts'
import { ScriptedBroker } from './scripted-broker.ts'
import type { Leading } from './scripted-broker.ts'
import { ScriptedPartition } from './scripted-partition.ts'

const host = 'memory'

export class ScriptedCluster {
  readonly transport = new MemoryTransport()
  readonly partitions: ScriptedPartition[]
  /** By id, from 1. */
  readonly brokers = new Map<number, ScriptedBroker>()
  readonly #ports = new Map<number, number>()
  #epoch = 1

  private constructor(partitions: number) {
    this.partitions = Array.from({ length: partitions }, () => new ScriptedPartition())
  }

  /** Broker 1 leads every partition. */
  static async start(ids: readonly number[], partitions = 1): Promise<ScriptedCluster> {
    const cluster = new ScriptedCluster(partitions)
    const leading = cluster.partitions.map(() => ({ broker: 1, leaderEpoch: 1 }))
    for (const id of ids) {
      const broker = new ScriptedBroker(cluster.partitions, id, cluster.transport)
      cluster.brokers.set(id, broker)
      cluster.#ports.set(id, Number((await broker.listen()).split(':')[1]))
      broker.view = {
        replicas: ids,
        leading: [...leading],
        addressOf: (other) => ({ host, port: cluster.#ports.get(other)! }),
      }
    }
    return cluster
  }

  broker(id: number): ScriptedBroker {
    return this.brokers.get(id)!
  }

  address(...ids: readonly number[]): string {
    return ids.map((id) => `${host}:${this.#ports.get(id)}`).join(',')
  }

  /** Through these brokers. */
  connect(ids: readonly number[], options: ConnectOptions = {}): Promise<Playhead> {
    return connect(this.address(...ids), { transport: this.transport, timeoutMs: 2_000, ...options })
  }

  /** From now on, as far as `told` know: all of them by default. Undefined: nobody leads. */
  lead(broker: number | undefined, partition = 0, told: Iterable<number> = this.brokers.keys()): void {
    const leading: Leading = { broker, leaderEpoch: ++this.#epoch }
    for (const id of told) (this.broker(id).view!.leading as Leading[])[partition] = leading
  }

  /** As kill -9. */
  async kill(id: number): Promise<void> {
    await this.broker(id).stop()
  }

  /** At the address it had. */
  async restart(id: number): Promise<void> {
    await this.broker(id).listen(this.#ports.get(id))
  }
}
