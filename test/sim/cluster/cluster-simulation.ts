/**
 * Cluster simulation: one seed of three to five brokers, from empty disks to a verdict. A safety phase with faults, then everything heals, then a liveness
 * phase: every session gets an append and a read through, every replica comes in sync. Then all replicas are compared, clients look at all there is,
 * and once more after all brokers were started again.
 * The same seed gives the same run, event by event. Called by run.ts, seed-worker.ts and the tests.
 */
// First, for its effect on node:zlib.
import { recordedResult, runSeed, withDeadline } from '../run-seed.ts'
import type { SeedOptions, SimulationResult } from '../run-seed.ts'
import { isPlayheadError } from '../../../client/index.ts'
import type { Dump } from '../../history/history.ts'
import type { MachineOptions } from '../machine.ts'
import { clusterCodes } from '../answers.ts'
import { Network } from '../network.ts'
import { Recorder } from '../recorder.ts'
import { noExcuse } from '../rot.ts'
import type { Scheduler } from '../scheduler.ts'
import { Session } from '../session.ts'
import type { SessionOptions } from '../session.ts'
import { SessionPlaces } from '../session-places.ts'
import { Workload } from '../workload.ts'
import { rackOf } from './cluster-broker.ts'
import { ClusterNemesis } from './cluster-nemesis.ts'
import type { ClusterFault } from './cluster-nemesis.ts'
import { Fleet } from './fleet.ts'
import type { Member } from './fleet.ts'
import type { SimulatedBucket } from './simulated-object-store.ts'
import { atRest, compareReplicas, whyNotAtRest } from './replica-judge.ts'

export interface ClusterSimulationOptions extends SeedOptions {
  /** Only these faults; drawn when absent. */
  readonly kinds?: readonly ClusterFault[]
  readonly wrapFileSystem?: MachineOptions['wrapFileSystem']
  /** The brokers share a tier, and keep as little as they may on their own disks. */
  readonly bucket?: SimulatedBucket
}

const eventsMax = 5_000_000
/** What is not done for so long after everything healed never will be. */
const livenessMsMax = 120_000
const replicationFactor = 3

export function simulateCluster(options: ClusterSimulationOptions): Promise<SimulationResult> {
  return runSeed(options, eventsMax, (scheduler) => new ClusterRun(scheduler, options))
}

class ClusterRun {
  readonly findings: string[] = []
  readonly #scheduler: Scheduler
  readonly #seed: number
  readonly #network: Network
  readonly #fleet: Fleet
  readonly #recorder: Recorder
  readonly #workload: Workload
  readonly #nemesis: ClusterNemesis
  readonly #sessions: SessionPlaces
  #isEnded = false

  constructor(scheduler: Scheduler, { seed, kinds, wrapFileSystem, bucket }: ClusterSimulationOptions) {
    this.#scheduler = scheduler
    this.#seed = seed
    const { random } = scheduler
    const network = new Network(scheduler)
    this.#network = network
    const sessionMs = random.pick([2_000, 2_000, 6_000])
    this.#fleet = new Fleet({
      scheduler,
      network,
      count: random.pick([3, 3, 3, 4, 5]),
      sessionMs,
      lagMsMax: random.pick([1_000, 2_000, 10_000]),
      settings: {
        idleFloorMs: random.pick([1, 20, 100]),
        cleanIntervalMs: random.pick([50, 1_000]),
        groupBytesMax: random.pick([8_192, 1 << 20]),
        tailCacheBytes: random.pick([0, 100_000, 1 << 24]),
        checkpointIntervalMs: random.pick([500, 5_000]),
        openSegmentsMax: random.pick([2, 64]),
        indexMemoryBytes: random.pick([10_000, 1 << 27]),
      },
      ...(wrapFileSystem && { wrapFileSystem }),
      bucket,
    })
    this.#recorder = new Recorder(scheduler)
    this.#workload = new Workload(scheduler, {
      isCluster: true,
      ...(bucket && { topicSettings: { 'local.retention.bytes': '0' } }),
    })
    const open = (name: string) => Session.open(this.#sessionOptions(), name)
    this.#sessions = new SessionPlaces({ scheduler, workload: this.#workload, open })
    const onClientDeath = () => this.#sessions.killOne()
    const nextTold = (what: 'written' | 'conflict') => this.#recorder.nextTold(what)
    const harm = { scheduler, network, fleet: this.#fleet, kinds, sessionMs, onClientDeath, nextTold }
    this.#nemesis = new ClusterNemesis(harm)
  }

  async main(): Promise<void> {
    const scheduler = this.#scheduler
    const fleet = this.#fleet
    const supervision = fleet.members.map((member) => fleet.supervise(member, () => this.#isEnded))
    await this.#begin()
    const until = scheduler.nowMs + this.#workload.durationMs
    const sessions = this.#sessions.run()
    const harm = this.#nemesis.run()
    while (scheduler.nowMs < until) await scheduler.sleep(50, 'phase')
    this.#nemesis.heal()
    await harm
    this.#sessions.end()
    await this.#withDeadline('liveness', sessions)
    await this.#lookAtAll()
    this.#isEnded = true
    await this.#withDeadline('stop', Promise.all(fleet.members.map(({ machine }) => machine.stop())))
    await this.#withDeadline('supervision', Promise.all(supervision))
  }

  result(): SimulationResult {
    const { members, invariants, findings } = this.#fleet
    const sum = (count: (member: Member) => number) => members.reduce((total, member) => total + count(member), 0)
    return {
      ...recordedResult(this.#scheduler, this.#recorder),
      seed: this.#seed,
      findings: [
        ...this.findings,
        ...invariants.violations,
        ...findings,
        ...members.flatMap((each) => each.machine.bugs),
      ],
      faults: this.#nemesis.counts,
      starts: sum(({ machine }) => machine.starts),
      reports: members.flatMap(({ broker, machine }) => machine.reports.map((text) => `${broker}: ${text}`)),
    }
  }

  /** All brokers are there, and the topic. */
  async #begin(): Promise<void> {
    const fleet = this.#fleet
    while (fleet.state.sessions.size < fleet.members.length) await this.#scheduler.sleep(50, 'begin')
    const first = await Session.open(this.#sessionOptions(), 'first')
    await first.createTopic()
    await first.close()
  }

  #sessionOptions(): SessionOptions {
    const onFinding = (finding: string) => this.findings.push(finding)
    return {
      scheduler: this.#scheduler,
      network: this.#network,
      recorder: this.#recorder,
      workload: this.#workload,
      rot: noExcuse,
      onFinding,
      addresses: this.#fleet.addresses,
      moreCodes: clusterCodes,
      isLinearizable: false,
      replicationFactor,
      rack: this.#scheduler.random.pick([rackOf(1), rackOf(2)]),
    }
  }

  /** Once as it is, once after all brokers have ended and come back. */
  async #lookAtAll(): Promise<void> {
    const scheduler = this.#scheduler
    const before = await this.#contents('before')
    for (const { machine } of this.#fleet.members) {
      if (scheduler.oneIn(2)) machine.cutPower()
      else machine.kill()
      if (scheduler.oneIn(2) && !machine.isRunning) machine.cache.cut(0)
    }
    const after = await this.#contents('after')
    for (const dump of after) this.#recorder.dump(dump)
    for (const [place, dump] of before.entries())
      if (JSON.stringify(dump) !== JSON.stringify(after[place]))
        this.findings.push(`partition ${dump.partition}: after a restart of all not what it was before`)
  }

  /** All replicas, and all partitions and streams through a client. */
  async #contents(when: string): Promise<Omit<Dump, 'kind'>[]> {
    const fleet = this.#fleet
    await this.#withDeadline(`all in sync ${when}`, atRest(this.#scheduler, fleet), () => whyNotAtRest(fleet))
    this.findings.push(...(await compareReplicas(fleet)))
    const session = await this.#withDeadline('look', Session.open(this.#sessionOptions(), `look-${when}`))
    const contents = await this.#withDeadline('look', this.#lookThrough(session))
    await session.close()
    return contents
  }

  /** A client with little patience may have to look again. */
  async #lookThrough(session: Session): Promise<Omit<Dump, 'kind'>[]> {
    for (;;) {
      try {
        return await session.contents()
      } catch (error) {
        if (!isPlayheadError(error) || !error.retriable) throw error
        await this.#scheduler.sleep(50, 'look again')
      }
    }
  }

  #withDeadline<T>(what: string, promise: Promise<T>, why?: () => string | undefined): Promise<T> {
    return withDeadline(this.#scheduler, livenessMsMax, what, promise, why)
  }
}
