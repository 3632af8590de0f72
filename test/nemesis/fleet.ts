/**
 * Fleet: three machines with a broker each and one with etcd, in a network of their own: what they are said to be in etcd, whose disk may be lost, whether
 * all is well. Each part has its own disk. Invariant: what it has made on this machine is gone after `removeNow`, also when the process exits.
 * Neighbours: nemesis.ts does harm to it, nemesis-run.ts lets clients loose on it.
 */
import { join } from 'node:path'
import { readClusterState } from '../../replication/cluster-state.ts'
import type { ClusterState } from '../../replication/cluster-state.ts'
import type { EtcdMetadataStore } from '../../replication/etcd-metadata-store.ts'
import { LoopDisk } from '../crash/loop-disk.ts'
import { DiskLosses } from '../replication/disk-losses.ts'
import { EtcdServer } from '../replication/etcd-server.ts'
import { Machine, partyOf } from './machine.ts'
import { clients, MachineNetwork } from './machine-network.ts'
import { makeSlowLibrary } from './slow-disk.ts'

export const brokers = [1, 2, 3]
export const etcdParty = 'etcd'
/** A broker that nothing is heard of for so long is taken for dead. */
export const sessionMs = 3_000
const lagMsMax = 2_000
const etcdDiskBytes = 256 * 1024 * 1024
/** Of one partition, in one round. */
const isrChangesMax = 100
const clusterName = 'nemesis'

export interface FleetOptions {
  /** Of logs. */
  readonly directory: string
  readonly onFinding: (finding: string) => void
}

export class Fleet implements AsyncDisposable {
  readonly network: MachineNetwork
  readonly machines: Machine[] = []
  readonly #options: FleetOptions
  readonly #losses = new DiskLosses()
  /** "<topic>/<partition> <epoch>" → which start of which broker leads in it. */
  readonly #leaders = new Map<string, string>()
  readonly #isrChanges = new Map<string, number>()
  #etcd: EtcdServer | undefined
  #etcdDisk: LoopDisk | undefined
  #metadata: EtcdMetadataStore | undefined
  #isOver = false
  #supervision: Promise<unknown> = Promise.resolve()
  readonly #onExit = () => this.removeNow()

  private constructor(options: FleetOptions, network: MachineNetwork) {
    this.#options = options
    this.network = network
    process.once('exit', this.#onExit)
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const network = await MachineNetwork.make([...brokers.map(partyOf), etcdParty])
    const fleet = new Fleet(options, network)
    try {
      await fleet.#startEtcd()
      await fleet.#startMachines()
      return fleet
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
  }

  get parties(): string[] {
    return [...this.machines.map(({ party }) => party), clients, etcdParty]
  }

  get addresses(): string[] {
    return this.machines.map(({ server }) => `playhead://${server}`)
  }

  get servers(): string {
    return this.machines.map(({ server }) => server).join(',')
  }

  get etcd(): EtcdServer {
    if (this.#etcd === undefined) throw new Error('found no etcd, wanted one that was started')
    return this.#etcd
  }

  /** What etcd has, now. Rejects while it does not answer. */
  async state(): Promise<ClusterState> {
    this.#metadata ??= await this.etcd.connect({ prefix: `/${clusterName}` })
    return await readClusterState(this.#metadata)
  }

  async leaderOf(topic: string, partition: number): Promise<Machine | undefined> {
    const state = await this.state()
    const topicId = state.topicOf(topic)?.topicId
    const leader = topicId === undefined ? undefined : state.partition({ topicId, partition })?.state.leader
    return this.machines.find(({ broker }) => broker === leader)
  }

  /** Every broker is there and every partition has all its replicas in sync, as far as etcd can be asked. */
  async isWhole(): Promise<boolean> {
    const state = await this.state().catch(() => undefined)
    if (state === undefined || state.sessions.size < brokers.length) return false
    return [...state.allPartitions()].every(({ state: { isr, replicas } }) => isr.length === replicas.length)
  }

  /** Takes the disk of a machine if all that it has is on two other ones. False if not. */
  async loseDisk(machine: Machine): Promise<boolean> {
    const state = await this.state()
    const { revision } = await this.#metadata!.range('/')
    if (!this.#losses.mayLose(state, machine.broker)) return false
    this.#losses.lost(machine.broker, revision)
    await machine.kill()
    await machine.loseDisk()
    return true
  }

  /** Power of all at one moment: of the machines, and of etcd's too. */
  async cutAllPower(agonyMs: number, withEtcd: boolean): Promise<void> {
    await Promise.all([
      ...this.machines.map((machine) => machine.cutPower(agonyMs)),
      ...(withEtcd ? [this.#cutPowerOfEtcd()] : []),
    ])
  }

  async #cutPowerOfEtcd(): Promise<void> {
    await this.#etcdDisk?.cutPower()
    await this.etcd.kill()
    await this.#etcdDisk?.powerUp()
    await this.etcd.start()
  }

  async #startEtcd(): Promise<void> {
    this.#etcdDisk = await LoopDisk.make(etcdDiskBytes)
    this.#etcd = await EtcdServer.start({
      directory: join(this.#etcdDisk.path, 'etcd'),
      host: this.network.addressOf(etcdParty),
      ports: [2379, 2380],
      within: this.network.within(etcdParty),
    })
  }

  async #startMachines(): Promise<void> {
    const { directory, onFinding } = this.#options
    const slowLibrary = await makeSlowLibrary(directory)
    for (const broker of brokers) {
      const machine = await Machine.make({
        broker,
        network: this.network,
        directory,
        slowLibrary,
        cluster: `etcd://${this.etcd.member}/${clusterName}`,
        flags: {
          'cluster-session-ms': sessionMs,
          'replica-lag-ms-max': lagMsMax,
          'checkpoint-interval-ms': 500,
          'clean-interval-ms': 500,
        },
        onReport: (which, line) => this.#said(which, line),
        onFinding,
      })
      this.machines.push(machine)
    }
    this.#supervision = Promise.all(this.machines.map((machine) => machine.supervise(() => this.#isOver)))
  }

  /** Partitions whose in-sync sets were changed more often since the last time than any harm explains: a loop, for which etcd pays. */
  restless(): string[] {
    const found = [...this.#isrChanges].filter(([, times]) => times > isrChangesMax)
    this.#isrChanges.clear()
    return found.map(([partition, times]) => `${partition}: its in-sync set was changed ${times} times`)
  }

  /** Of one epoch there is one leader, in one run of it. */
  #said(machine: Machine, line: string): void {
    const { onFinding } = this.#options
    const [, changed] = /(\S+\/\d+): in sync are brokers/.exec(line) ?? []
    if (changed !== undefined) this.#isrChanges.set(changed, (this.#isrChanges.get(changed) ?? 0) + 1)
    const [, partition, epoch] = /(\S+\/\d+): leads in epoch (\d+)/.exec(line) ?? []
    if (partition === undefined) return
    const key = `${partition} ${epoch}`
    const run = `broker ${machine.broker}, start ${machine.starts}`
    const known = this.#leaders.get(key)
    if (known !== undefined) onFinding(`${key}: ${run} leads in an epoch that ${known} led in`)
    this.#leaders.set(key, run)
  }

  /** For a process that is about to exit, and the end of all else. */
  removeNow(): void {
    process.off('exit', this.#onExit)
    for (const machine of this.machines) machine.removeNow()
    this.#etcdDisk?.removeNow()
    this.network.remove()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    for (const machine of this.machines) machine.isDown = true
    await this.#supervision
    await Promise.all(this.machines.map((machine) => machine.kill()))
    await this.#metadata?.close()
    await this.#etcd?.kill()
    this.removeNow()
  }
}
