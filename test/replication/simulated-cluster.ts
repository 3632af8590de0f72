/**
 * Brokers without data for simulations of what they agree on: each a process with a store, a guard, an image and a session, on one simulated etcd. Leaders
 * let followers in and out at random through the same transactions as real ones. Watches every state that etcd ever had and keeps the violations.
 */
import assert from 'node:assert/strict'
import { ClusterImage } from '../../replication/cluster-image.ts'
import type { ClusterState } from '../../replication/cluster-state.ts'
import { GuardedMetadataStore } from '../../replication/guarded-metadata-store.ts'
import { next } from '../../replication/isr-change.ts'
import { isrTransaction } from '../../replication/isr-transaction.ts'
import type { StoreMark } from '../../replication/metadata-store.ts'
import type { LostReplica } from '../../replication/registration.ts'
import { Session } from '../../replication/session.ts'
import { Scheduler } from '../sim/scheduler.ts'
import { SimulatedProcess } from '../sim/simulated-process.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { MetadataInvariants } from './metadata-invariants.ts'
import { SimulatedEtcd, SimulatedMetadataStore } from './simulated-metadata-store.ts'

export const ttlMs = 6_000

export interface StartOptions {
  readonly dataDirectoryId?: string
  readonly lost?: readonly LostReplica[]
  readonly rack?: string | null
  readonly port?: number
  readonly runEpoch?: number
  /** Of the store, in a run before. */
  readonly seen?: StoreMark | undefined
}

export class SimulatedBroker {
  readonly broker: number
  readonly process: SimulatedProcess
  readonly wire: SimulatedMetadataStore
  readonly store: GuardedMetadataStore
  readonly said: string[] = []
  image: ClusterImage | undefined
  session: Session | undefined
  refusal: Error | undefined
  isWorking = true

  constructor(etcd: SimulatedEtcd, broker: number, run: number, seen?: StoreMark) {
    this.broker = broker
    this.process = new SimulatedProcess(etcd.scheduler, `broker-${broker}.${run}`)
    this.wire = new SimulatedMetadataStore(etcd, this.process)
    this.store = new GuardedMetadataStore(this.wire, { name: 'etcd', seen })
  }

  get foundation() {
    return { store: this.store, clock: this.process.clock, random: this.process.random }
  }

  async start(options: StartOptions, runEpoch: number): Promise<void> {
    const { dataDirectoryId = `directory-${this.broker}`, lost = [], rack = null, port = 7420 + this.broker } = options
    const report = (level: string, message: string) => {
      this.said.push(`${level} ${message}`)
      this.process.scheduler.note(`${this.process.name} ${message}`)
    }
    this.image = await ClusterImage.open({ store: this.store, clock: this.process.clock, report })
    const record = { host: 'h', port, rack, dataDirectoryId, runEpoch, runId: this.process.name, release: '0' }
    this.session = await Session.start({
      ...this.foundation,
      broker: this.broker,
      record,
      image: this.image,
      ttlMs,
      lost,
      isAlive: () => this.isWorking,
      report,
      onEpoch: () => undefined,
      onRefused: (error) => (this.refusal = error),
    })
  }

  /** As a leader: one random in-sync change of one of its partitions, as it sees them. */
  async changeIsr(random: SeededRandom, pick: 'any' | 'all'): Promise<void> {
    const { image, session } = this
    const brokerEpoch = session?.brokerEpoch
    if (image === undefined || brokerEpoch === undefined) return
    const led = [...image.state.allPartitions()].filter(({ state }) => state.leader === this.broker)
    for (const { topicId, partition, ...seen } of pick === 'all' ? led : led.length > 0 ? [random.pick(led)] : []) {
      const out = seen.state.replicas.filter(
        (broker) => !seen.state.isr.includes(broker) && image.state.sessions.has(broker),
      )
      const others = seen.state.isr.filter((broker) => broker !== this.broker)
      const isExpand = pick === 'all' || random.below(3) > 0
      const chosen = pick === 'all' ? out : isExpand ? out.slice(0, 1) : others.slice(0, 1)
      if (chosen.length === 0) continue
      const nonce = String(random.below(2 ** 32))
      const proposed = isExpand
        ? next(seen.state, { kind: 'expand', leader: this.broker, add: chosen }, nonce)
        : next(seen.state, { kind: 'shrink', leader: this.broker, remove: chosen }, nonce)
      const epochOf = (broker: number) => ({ broker, brokerEpoch: image.state.sessions.get(broker)!.brokerEpoch })
      const added = isExpand ? chosen.map(epochOf) : []
      const leader = { broker: this.broker, brokerEpoch }
      await this.store.transact(isrTransaction({ topicId, partition, seen, proposed, leader, added }))
    }
  }
}

export class SimulatedCluster {
  readonly scheduler: Scheduler
  readonly random: SeededRandom
  readonly etcd: SimulatedEtcd
  readonly brokers = new Map<number, SimulatedBroker>()
  readonly violations: readonly string[]
  #runs = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    this.scheduler = new Scheduler(this.random)
    this.etcd = new SimulatedEtcd(this.scheduler)
    this.violations = new MetadataInvariants(this.etcd).violations
  }

  static async run(seed: number, main: (cluster: SimulatedCluster) => Promise<void>): Promise<SimulatedCluster> {
    const cluster = new SimulatedCluster(seed)
    await cluster.scheduler.run(() => main(cluster), 20_000_000)
    assert.deepEqual(cluster.violations, [], `seed ${seed}`)
    return cluster
  }

  /** Starts a broker, without waiting for it. */
  begin(broker: number, options: StartOptions = {}): { broker: SimulatedBroker; started: Promise<void> } {
    const one = new SimulatedBroker(this.etcd, broker, ++this.#runs, options.seen)
    this.brokers.set(broker, one)
    return { broker: one, started: one.start(options, options.runEpoch ?? this.#runs) }
  }

  async start(broker: number, options: StartOptions = {}): Promise<SimulatedBroker> {
    const begun = this.begin(broker, options)
    await begun.started
    return begun.broker
  }

  kill(broker: number): void {
    const one = this.brokers.get(broker)
    this.brokers.delete(broker)
    if (one === undefined) return
    one.process.end('kill')
  }

  /** From now on leaders let everybody in, until the answer is called. */
  letEverybodyIn(): { readonly stop: () => Promise<void> } {
    const work = { isOn: true }
    const letIn = async () => {
      while (work.isOn) {
        for (const one of this.brokers.values()) await one.changeIsr(this.random, 'all')
        await this.scheduler.sleep(200)
      }
    }
    const done = letIn()
    const stop = () => {
      work.isOn = false
      return done
    }
    return { stop }
  }

  /** What etcd has, now. */
  get state(): ClusterState {
    return this.etcd.state
  }

  async until(what: string, holds: (state: ClusterState) => boolean, msMax = 120_000): Promise<void> {
    const endMs = this.scheduler.nowMs + msMax
    while (!holds(this.state)) {
      if (this.scheduler.nowMs > endMs) {
        const said = [...this.brokers.values()].flatMap((one) => one.said.slice(-5))
        const states = [...this.state.allPartitions()].slice(0, 5).map((one) => JSON.stringify(one))
        assert.fail(`not after ${msMax} ms: ${what}\n${states.join('\n')}\n${said.join('\n')}`)
      }
      await this.scheduler.sleep(100)
    }
  }
}
