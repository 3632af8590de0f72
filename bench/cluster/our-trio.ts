/** OurTrio: three brokers by `bin/playhead serve --cluster` and an etcd on this machine, and `playhead bench` against them. Called by run.ts. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setInterval } from 'node:timers/promises'
import { connect } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { ServedBroker } from '../../test/e2e/served-broker.ts'
import { untilInSync } from '../../test/services/until.ts'
import { metric } from '../../test/services/tiered-history.ts'
import { EtcdServer } from '../../test/replication/etcd-server.ts'

const ids = [1, 2, 3]
const burstMs = 5

export interface Refill {
  readonly seconds: number
  /** Batches that the follower wrote. */
  readonly bytes: number
}

export class OurTrio implements AsyncDisposable {
  readonly #directory: string
  readonly #etcd: EtcdServer
  readonly #brokers = new Map<number, ServedBroker>()

  private constructor(directory: string, etcd: EtcdServer) {
    this.#directory = directory
    this.#etcd = etcd
  }

  static async start(directory: string): Promise<OurTrio> {
    const trio = new OurTrio(directory, await EtcdServer.start())
    await Promise.all(ids.map((id) => trio.#serve(id)))
    return trio
  }

  async createTopic(topic: string, replicationFactor: number, settings: Record<string, string> = {}): Promise<void> {
    await using playhead = await this.#connect()
    await playhead.admin.createTopic(topic, { replicationFactor, settings })
  }

  /**
   * Writes records at a rate, acks=all, until the signal aborts; resolves with how many are written. In bursts, and without a turn more than they need:
   * `playhead bench --rate` looks at the clock all the time, which on this machine takes a third of what the brokers would have.
   */
  async writeAt(topic: string, recordBytes: number, ratePerSecond: number, signal: AbortSignal): Promise<number> {
    await using playhead = await this.#connect()
    await using producer = playhead.topic(topic).producer()
    const value = Buffer.alloc(recordBytes, 'x')
    const startedMs = performance.now()
    try {
      for await (const _ of setInterval(burstMs, undefined, { signal })) {
        const due = ((performance.now() - startedMs) / 1000) * ratePerSecond
        while (producer.stats.sentRecords < due) await producer.send({ key: null, value })
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
    await producer.flush()
    return producer.stats.writtenRecords
  }

  /** Records a second, acks=all: durable on each replica in sync. */
  async produce(topic: string, recordBytes: number, records: number): Promise<number> {
    const amount = ['--records', String(records), '--record-bytes', String(recordBytes)]
    const batching = ['--linger', '5', '--batch-bytes', '262144']
    const flags = ['--topic', topic, '--partitions', '1', '--streams', '0', '--acks', 'all', ...amount, ...batching]
    const printed = await this.#broker((await this.#placeOf(topic)).leader).ok('bench', 'produce', '--json', ...flags)
    const { records: written, seconds } = JSON.parse(printed) as { records: number; seconds: number }
    if (written !== records) throw new Error(`bench produce: found ${written} records, wanted ${records}`)
    return written / seconds
  }

  /** A follower of the topic is killed, with its disk or without; `meanwhile` is done; then it is started, and in sync again. */
  async refill(topic: string, losesDisk: boolean, meanwhile: () => Promise<unknown>): Promise<Refill> {
    const { leader, inSync } = await this.#placeOf(topic)
    const victim = inSync.find((id) => id !== leader)!
    await this.#broker(victim).kill()
    if (losesDisk) await rm(this.#dataOf(victim), { recursive: true })
    await this.#untilInSync(topic, leader, inSync.length - 1)
    await meanwhile()
    const startedMs = performance.now()
    await this.#serve(victim)
    await this.#untilInSync(topic, leader, inSync.length)
    const seconds = (performance.now() - startedMs) / 1000
    return { seconds, bytes: await metric(this.#broker(victim), 'playhead_log_appended_bytes_total') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#brokers.values(), (broker) => broker.stop()))
    await this.#etcd[Symbol.asyncDispose]()
  }

  #dataOf(id: number): string {
    return join(this.#directory, `broker-${id}`)
  }

  async #serve(id: number): Promise<void> {
    const cluster = ['--cluster', `etcd://${this.#etcd.member}/bench`, '--broker-id', String(id)]
    this.#brokers.set(id, await ServedBroker.start(this.#dataOf(id), cluster))
  }

  #broker(id: number): ServedBroker {
    return this.#brokers.get(id)!
  }

  #connect(): Promise<Playhead> {
    return connect(
      Array.from(this.#brokers.values(), ({ server }) => server),
      { timeoutMs: 60_000 },
    )
  }

  async #placeOf(topic: string): Promise<{ readonly leader: number; readonly inSync: readonly number[] }> {
    await using playhead = await this.#connect()
    const [{ leader, inSync = [] } = {}] = (await playhead.admin.describeTopic(topic)).partitions
    if (leader === undefined) throw new Error(`${topic}: nobody leads it`)
    return { leader: leader.broker, inSync }
  }

  async #untilInSync(topic: string, leader: number, count: number): Promise<void> {
    await using playhead = await connect(this.#broker(leader).server, { timeoutMs: 60_000 })
    await untilInSync(playhead, topic, count)
  }
}
