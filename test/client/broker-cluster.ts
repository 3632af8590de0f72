/**
 * BrokerCluster: real brokers in this process, over TCP, each with its own directory, which agree through one metadata store in memory. A broker can be
 * cut off: from the others, from its clients and from the metadata store, as one that stands still or whose network is gone; or stopped.
 */
import { join } from 'node:path'
import { Broker } from '../../broker/broker.ts'
import type { BrokerConfig } from '../../broker/config.ts'
import { connect } from '../../client/index.ts'
import type { ConnectOptions, Playhead } from '../../client/index.ts'
import { sleep, systemClock } from '../../platform/clock.ts'
import { nodeTransport } from '../../platform/node-transport.ts'
import { systemRandom } from '../../platform/random.ts'
import type { Connection, Listener, Transport } from '../../platform/transport.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { LocalMetadataStore } from '../../replication/local-metadata-store.ts'
import type { MetadataStore, OnHint, Transaction, Watch } from '../../replication/metadata-store.ts'
import { MemoryFileSystem } from '../storage/memory-file-system.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

/** The least that a broker takes. */
const clusterSessionMs = 2_000

/** Between two looks: the brokers that are looked at run in the same process. */
const lookMs = 20
/** What has not come by then does not come: a test says so instead of waiting for ever. */
const waitMsMax = 90_000

/** Resolves when `condition` holds. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const startedMs = systemClock.monotonicMs()
  while (!(await condition())) {
    if (systemClock.monotonicMs() - startedMs > waitMsMax)
      throw new Error(`not within ${waitMsMax} ms: ${String(condition)}`)
    await sleep(systemClock, lookMs)
  }
}

/** The cables of one broker. */
class Plug implements Transport {
  #isOut = false
  readonly #open = new Set<Connection>()

  get isOut(): boolean {
    return this.#isOut
  }

  pull(): void {
    this.#isOut = true
    for (const connection of this.#open) connection.destroy()
    this.#open.clear()
  }

  putBack(): void {
    this.#isOut = false
  }

  listen(host: string, port: number, onConnection: (connection: Connection) => void): Promise<Listener> {
    return nodeTransport.listen(host, port, (connection) => {
      if (this.#isOut) return connection.destroy()
      this.#open.add(connection)
      onConnection(connection)
    })
  }

  async connect(host: string, port: number, signal?: AbortSignal): Promise<Connection> {
    if (this.#isOut) throw new Error('EHOSTUNREACH')
    const connection = await nodeTransport.connect(host, port, signal)
    this.#open.add(connection)
    return connection
  }
}

/** The shared store as one broker reaches it, while it does. */
class Access implements MetadataStore {
  readonly #store: MetadataStore
  readonly #plug: Plug

  constructor(store: MetadataStore, plug: Plug) {
    this.#store = store
    this.#plug = plug
  }

  get(key: string) {
    return this.#through(() => this.#store.get(key))
  }

  range(prefix: string) {
    return this.#through(() => this.#store.range(prefix))
  }

  transact(transaction: Transaction) {
    return this.#through(() => this.#store.transact(transaction))
  }

  grantLease(ttlMs: number) {
    return this.#through(() => this.#store.grantLease(ttlMs))
  }

  keepLease(leaseId: string) {
    return this.#through(() => this.#store.keepLease(leaseId))
  }

  revokeLease(leaseId: string) {
    return this.#through(() => this.#store.revokeLease(leaseId))
  }

  watch(prefix: string, onHint: OnHint): Watch {
    return this.#store.watch(prefix, (key) => {
      if (!this.#plug.isOut) onHint(key)
    })
  }

  /** It is the others' too. */
  async close(): Promise<void> {}

  async #through<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#plug.isOut) throw new PlayheadError('unavailable', 'metadata store: cut off')
    return ask()
  }
}

export class BrokerCluster implements AsyncDisposable {
  readonly brokers = new Map<number, Broker>()
  /** What brokers have reported, each line with who did. */
  readonly said: string[] = []
  readonly #plugs = new Map<number, Plug>()
  readonly #setUp: AsyncDisposableStack
  readonly #metadata: MetadataStore
  readonly #directory: string

  private constructor(setUp: AsyncDisposableStack, metadata: MetadataStore, directory: string) {
    this.#setUp = setUp
    this.#metadata = metadata
    this.#directory = directory
  }

  static async start(ids: readonly number[]): Promise<BrokerCluster> {
    await using setUp = new AsyncDisposableStack()
    const { path } = setUp.use(await TemporaryDirectory.make())
    const fileSystem = new MemoryFileSystem()
    await fileSystem.makeDirectory('/metadata')
    const place = { fileSystem, path: '/metadata/metadata.json' }
    const metadata = await LocalMetadataStore.open({ ...place, clock: systemClock, random: systemRandom })
    setUp.defer(() => metadata.close())
    const cluster = new BrokerCluster(setUp.move(), metadata, path)
    for (const id of ids) await cluster.open(id)
    return cluster
  }

  async open(id: number, settings: Partial<BrokerConfig> = {}): Promise<void> {
    const plug = this.#plugs.get(id) ?? new Plug()
    this.#plugs.set(id, plug)
    const broker = await Broker.start(
      {
        data: join(this.#directory, `${id}`),
        port: 0,
        httpPort: 0,
        brokerId: id,
        clusterSessionMs,
        host: '127.0.0.1',
        ...settings,
      },
      {
        transport: plug,
        metadata: new Access(this.#metadata, plug),
        report: (_level, message) => this.said.push(`${id}: ${message}`),
        onFatal: (error) =>
          queueMicrotask(() => {
            throw error // the test fails at once
          }),
      },
    )
    this.brokers.set(id, broker)
  }

  connect(ids: readonly number[], options: ConnectOptions = {}): Promise<Playhead> {
    return connect(
      ids.map((id) => `127.0.0.1:${this.brokers.get(id)!.port}`),
      options,
    )
  }

  cutOff(id: number): void {
    this.#plugs.get(id)!.pull()
  }

  putBack(id: number): void {
    this.#plugs.get(id)!.putBack()
  }

  async stop(id: number): Promise<void> {
    await this.brokers.get(id)?.stop()
    this.brokers.delete(id)
  }

  /** Resolves with the leader of the partition, once there is one that these brokers have heard of. */
  async leaderOf(playhead: Playhead, topic: string, partition = 0): Promise<number> {
    let leader: number | undefined
    await eventually(async () => {
      const { partitions } = await playhead.admin.describeTopic(topic)
      leader = partitions[partition]?.leader?.broker
      return leader !== undefined
    })
    return leader!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const plug of this.#plugs.values()) plug.putBack()
    await Promise.all(Array.from(this.brokers.values(), (broker) => broker.stop()))
    await this.#setUp.disposeAsync()
  }
}
