/**
 * Fleet: the machines of a simulated cluster and the etcd between them: who runs, who is cut off from whom, whose disk may be lost.
 * Neighbours: cluster-nemesis.ts does harm to it, cluster-simulation.ts lets clients loose on it.
 */
import type { ClusterState } from '../../../replication/cluster-state.ts'
import type { StorageSettings } from '../../../storage/storage-settings.ts'
import { DiskLosses } from '../../replication/disk-losses.ts'
import { MetadataInvariants } from '../../replication/metadata-invariants.ts'
import { SimulatedEtcd, SimulatedMetadataStore } from '../../replication/simulated-metadata-store.ts'
import { Machine } from '../machine.ts'
import type { MachineOptions } from '../machine.ts'
import type { Network } from '../network.ts'
import type { Scheduler } from '../scheduler.ts'
import type { SimulatedProcess } from '../simulated-process.ts'
import { openClusterBroker, portOf } from './cluster-broker.ts'
import type { ClusterBrokerParts } from './cluster-broker.ts'
import { Links } from './links.ts'
import type { SimulatedBucket } from './simulated-object-store.ts'

export interface FleetOptions {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly count: number
  readonly settings: Partial<StorageSettings>
  readonly sessionMs: number
  readonly lagMsMax: number
  readonly wrapFileSystem?: MachineOptions['wrapFileSystem']
  /** What the brokers share as their tier; absent = they have none. */
  readonly bucket?: SimulatedBucket | undefined
}

/** A machine of the cluster, and what runs on it now. */
export interface Member {
  readonly broker: number
  readonly machine: Machine
  /** Of its run: the way to etcd. */
  wire: SimulatedMetadataStore | undefined
  parts: ClusterBrokerParts | undefined
  /** It is meant to be down. */
  isDown: boolean
}

export class Fleet {
  readonly etcd: SimulatedEtcd
  readonly links: Links
  readonly members: readonly Member[]
  readonly invariants: MetadataInvariants
  /** What a leader or a follower said of itself that must never be. */
  readonly findings: string[] = []
  /** "<topic>/<partition> <epoch>" → the process that leads in it. */
  readonly #leaders = new Map<string, string>()
  readonly #options: FleetOptions
  readonly #losses = new DiskLosses()

  constructor(options: FleetOptions) {
    const { scheduler, network, count } = options
    this.#options = options
    this.etcd = new SimulatedEtcd(scheduler)
    this.invariants = new MetadataInvariants(this.etcd)
    this.members = Array.from({ length: count }, (_, index) => this.#member(index + 1))
    this.links = new Links(network, this.members)
  }

  get addresses(): string[] {
    return this.members.map(({ broker }) => `playhead://127.0.0.1:${portOf(broker)}`)
  }

  /** What etcd has, now. */
  get state(): ClusterState {
    return this.etcd.state
  }

  /** Every partition that there is has all its replicas in sync. */
  get isWhole(): boolean {
    return [...this.state.allPartitions()].every(({ state }) => state.isr.length === state.replicas.length)
  }

  mayLoseDiskOf({ broker }: Member): boolean {
    return this.#losses.mayLose(this.state, broker)
  }

  loseDisk({ broker, machine }: Member): void {
    this.#losses.lost(broker, this.etcd.table.revision)
    machine.loseDisk()
  }

  /** Starts a broker again whenever it is not there and should be, until `isOver`. */
  async supervise(member: Member, isOver: () => boolean): Promise<void> {
    const { scheduler } = this.#options
    while (!isOver()) {
      if (!member.isDown && !member.machine.isRunning) await member.machine.start()
      await scheduler.sleep(scheduler.between(1, 200), 'supervise')
    }
  }

  #member(broker: number): Member {
    const { scheduler, network, settings, wrapFileSystem, sessionMs, lagMsMax, bucket } = this.#options
    let current: SimulatedProcess | undefined
    const machine = new Machine({
      scheduler,
      network,
      settings,
      name: `broker-${broker}`,
      ...(wrapFileSystem && { wrapFileSystem }),
      onReport: (text) => this.#said(current, text),
      open: (foundations) => {
        current = foundations.process
        const metadata = new SimulatedMetadataStore(this.etcd, foundations.process)
        member.wire = metadata
        member.parts = undefined
        this.links.apply()
        const onOpen = (parts: ClusterBrokerParts) => {
          member.parts = parts
        }
        return openClusterBroker(foundations, { broker, metadata, sessionMs, lagMsMax, onOpen, bucket })
      },
    })
    const member: Member = { broker, machine, wire: undefined, parts: undefined, isDown: false }
    return member
  }

  /** Of one epoch there is one leader, in one run of it; and a broker ends itself only when its disk fails. */
  #said(process: SimulatedProcess | undefined, text: string): void {
    this.#options.scheduler.note(`${process?.name} ${text}`)
    if (text.startsWith('fatal: ') && !/a (sync|write) failed|EIO/.test(text))
      this.findings.push(`${process?.name} ended itself: ${text}`)
    const [, partition, epoch] = /(\S+\/\d+): leads in epoch (\d+)/.exec(text) ?? []
    if (partition === undefined || process === undefined) return
    const key = `${partition} ${epoch}`
    const known = this.#leaders.get(key)
    if (known !== undefined) this.findings.push(`${key}: ${process.name} leads in an epoch that ${known} led in`)
    this.#leaders.set(key, process.name)
  }
}
