/** ServedCluster: brokers as processes of their own that agree through a real etcd; for tests. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { connect } from '../../client/index.ts'
import type { ConnectOptions, Playhead } from '../../client/index.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import type { EtcdServer } from '../replication/etcd-server.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

/** Short, so that a broker that is gone is missed soon. */
export const sessionMs = 2_000

export class ServedCluster implements AsyncDisposable {
  readonly directory: TemporaryDirectory
  readonly name: string
  readonly brokers = new Map<number, ServedBroker>()
  readonly #etcd: EtcdServer

  private constructor(directory: TemporaryDirectory, etcd: EtcdServer, name: string) {
    this.directory = directory
    this.#etcd = etcd
    this.name = name
  }

  /** `name`: of the cluster in that etcd. */
  static async start(etcd: EtcdServer, name: string, ids: readonly number[]): Promise<ServedCluster> {
    const cluster = new ServedCluster(await TemporaryDirectory.make(), etcd, name)
    await Promise.all(ids.map((id) => cluster.serve(id)))
    return cluster
  }

  dataOf(id: number): string {
    return join(this.directory.path, `broker-${id}`)
  }

  flags(id: number, name = this.name): string[] {
    const cluster = ['--cluster', `etcd://${this.#etcd.member}/${name}`, '--broker-id', String(id)]
    return [
      ...cluster,
      '--rack',
      `rack-${id}`,
      '--cluster-session-ms',
      String(sessionMs),
      '--replica-lag-ms-max',
      '1500',
    ]
  }

  async serve(id: number): Promise<ServedBroker> {
    const broker = await ServedBroker.start(this.dataOf(id), this.flags(id))
    this.brokers.set(id, broker)
    return broker
  }

  connect(options: ConnectOptions = {}): Promise<Playhead> {
    const addresses = [...this.brokers.values()].map(({ server }) => server)
    return connect(addresses, { timeoutMs: 30_000, ...options })
  }

  /** Fetches that a broker has answered since it was started. */
  async fetchesServedBy(id: number): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.brokers.get(id)!.httpPort}/metrics`)
    const text = await answer.text()
    const count = (name: string) => Number(new RegExp(`^${name}{api="fetch"} (\\d+)`, 'm').exec(text)?.[1])
    return count('playhead_requests_total') - count('playhead_request_failures_total')
  }

  /** Of the one partition of a topic. */
  async leaderOf(playhead: Playhead, topic: string): Promise<number> {
    const { partitions } = await playhead.admin.describeTopic(topic)
    const leader = partitions[0]?.leader?.broker
    assert.ok(leader !== undefined, 'somebody leads')
    return leader
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const broker of this.brokers.values()) await broker[Symbol.asyncDispose]()
    await this.directory[Symbol.asyncDispose]()
  }
}
