/**
 * Cluster nemesis: does harm to a fleet, as the seed says: which kinds of fault a run has, when, to whom, and for how long; several at once.
 * Invariant: after `heal` nothing is wrong any more and every broker is started again. Neighbours: cluster-simulation.ts lets it run beside the sessions.
 */
import type { Network } from '../network.ts'
import type { Scheduler } from '../scheduler.ts'
import type { Fleet, Member } from './fleet.ts'
import { partyOf } from './links.ts'

const faults = {
  kill: true,
  power: true,
  powerAll: true,
  stop: true,
  rolling: true,
  loseDisk: true,
  pause: true,
  cut: true,
  cutOneWay: true,
  isolate: true,
  cutFromEtcd: true,
  etcdDown: true,
  etcdLeader: true,
  etcdFlaky: true,
  slow: true,
  slowLink: true,
  syncError: true,
  reset: true,
  skew: true,
  clientDeath: true,
} as const
export type ClusterFault = keyof typeof faults
export const clusterFaultKinds = Object.keys(faults) as ClusterFault[]

export interface ClusterNemesisOptions {
  readonly scheduler: Scheduler
  readonly fleet: Fleet
  readonly network: Network
  /** Only these kinds; drawn when absent. */
  readonly kinds?: readonly ClusterFault[] | undefined
  /** Of a broker's session: what lasts longer is noticed. */
  readonly sessionMs: number
  readonly onClientDeath: () => void
  /** Resolves when a client hears of its next append, or of its next conflict. */
  readonly nextTold: (what: 'written' | 'conflict') => Promise<void>
}

/** How long a broker of a rolling restart waits for the others to be in sync. */
const rollingWaitMsMax = 20_000

export class ClusterNemesis {
  readonly counts: Partial<Record<ClusterFault, number>> = {}
  readonly #options: ClusterNemesisOptions
  readonly #kinds: readonly ClusterFault[]
  readonly #pauseMs: number
  /** Harm that lasts: how to end it. */
  readonly #lasting = new Set<() => void>()
  readonly #working = new Set<Promise<void>>()
  #ended = false

  constructor(options: ClusterNemesisOptions) {
    const { scheduler, kinds } = options
    const drawn = kinds ?? clusterFaultKinds.filter(() => scheduler.oneIn(3))
    this.#options = options
    this.#kinds = drawn.length > 0 ? drawn : ['kill']
    this.#pauseMs = scheduler.random.pick([100, 500, 2_000])
  }

  get isOver(): boolean {
    return this.#ended
  }

  /** Harms until `heal`. */
  async run(): Promise<void> {
    const { scheduler } = this.#options
    while (!this.#ended) {
      await scheduler.sleep(scheduler.between(0, 2 * this.#pauseMs), 'nemesis')
      if (this.#ended) break
      const kind = scheduler.random.pick(this.#kinds)
      scheduler.note(`fault ${kind}`)
      const harm = this.#strike(kind)
      this.#working.add(harm)
      void harm.finally(() => this.#working.delete(harm))
      // Half the times other harm comes on top.
      if (scheduler.oneIn(2)) await harm
    }
    await Promise.all(this.#working)
  }

  heal(): void {
    const { scheduler, fleet } = this.#options
    this.#ended = true
    scheduler.note('heal')
    for (const end of this.#lasting) end()
    fleet.links.heal()
    for (const { machine } of fleet.members) {
      machine.disk.disarm()
      machine.skewWallClock(0)
    }
  }

  async #strike(kind: ClusterFault): Promise<void> {
    const { scheduler, fleet, network } = this.#options
    const { random } = scheduler
    const member = random.pick(fleet.members)
    const { machine, wire } = member
    if (kind === 'loseDisk' && !fleet.mayLoseDiskOf(member)) return
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
    if (kind === 'kill' || kind === 'power' || kind === 'stop' || kind === 'loseDisk') return this.#end(member, kind)
    if (kind === 'powerAll') return this.#endAll()
    if (kind === 'rolling') return this.#restartAll()
    if (kind === 'reset') return network.reset(1 + random.below(3))
    if (kind === 'clientDeath') return this.#options.onClientDeath()
    if (kind === 'syncError')
      return machine.disk.fail({ call: 'sync', suffix: random.pick(['.log', '.json', '']), code: 'EIO' })
    if (kind === 'skew') return machine.skewWallClock(scheduler.between(-3_600_000, 3_600_000))
    if (kind === 'etcdLeader') return fleet.etcd.changeLeader()
    if (kind === 'pause') {
      machine.pause()
      return this.#last(() => machine.resume())
    }
    if (kind === 'slow') {
      machine.disk.slowness = random.pick([20, 200])
      return this.#last(() => (machine.disk.slowness = 1))
    }
    if (kind === 'etcdDown') {
      fleet.etcd.isDown = true
      return this.#last(() => (fleet.etcd.isDown = false))
    }
    if (kind === 'etcdFlaky') {
      if (wire === undefined) return
      Object.assign(wire.faults, { lostOneIn: 3, lateOneIn: 5, brokenWatchOneIn: 4 })
      return this.#last(() => Object.assign(wire.faults, { lostOneIn: 0, lateOneIn: 0, brokenWatchOneIn: 0 }))
    }
    return this.#cut(kind, partyOf(member.broker))
  }

  /** One end of it is a broker always. */
  async #cut(kind: 'cut' | 'cutOneWay' | 'isolate' | 'cutFromEtcd' | 'slowLink', party: string): Promise<void> {
    const { scheduler, fleet } = this.#options
    const { links } = fleet
    const others = links.parties.filter((other) => other !== party)
    const other = kind === 'cutFromEtcd' ? 'etcd' : scheduler.random.pick(others)
    const mend: (() => void)[] = []
    if (kind === 'slowLink') mend.push(links.slow(party, other, 300), links.slow(other, party, 300))
    else if (kind === 'cutOneWay') mend.push(scheduler.oneIn(2) ? links.cut(party, other) : links.cut(other, party))
    else {
      const from = kind === 'isolate' ? others.filter((each) => each !== 'clients' || scheduler.oneIn(2)) : [other]
      for (const each of from) mend.push(links.cut(party, each), links.cut(each, party))
    }
    return this.#last(() => mend.forEach((end) => end()))
  }

  /** Ended after a while, or by `heal`. Shorter and longer than what is noticed. */
  async #last(end: () => void): Promise<void> {
    const { scheduler, sessionMs } = this.#options
    const endOnce = () => {
      if (this.#lasting.delete(endOnce)) end()
    }
    this.#lasting.add(endOnce)
    await scheduler.sleep(scheduler.between(0.1, 2.5) * sessionMs, 'harm')
    endOnce()
  }

  /** Half the times in the moment in which a client is told something. */
  async #end(member: Member, kind: 'kill' | 'power' | 'stop' | 'loseDisk'): Promise<void> {
    const { scheduler, fleet, sessionMs } = this.#options
    await this.#aim()
    if (member.isDown || this.#ended) return
    const { machine } = member
    if (kind === 'loseDisk' && !fleet.mayLoseDiskOf(member)) return
    member.isDown = true
    if (kind === 'stop') await machine.stop()
    else if (kind === 'power') machine.cutPower()
    else if (kind === 'loseDisk') fleet.loseDisk(member)
    else machine.kill()
    this.#spoilCache(member)
    await scheduler.sleep(scheduler.oneIn(2) ? scheduler.between(0, 500) : scheduler.between(0, 2 * sessionMs), 'down')
    member.isDown = false
    if (this.#ended || !scheduler.oneIn(4)) return
    // Cut off in its recovery.
    await scheduler.sleep(scheduler.between(200, 400), 'starting')
    if (kind === 'power') machine.cutPower()
    else machine.kill()
  }

  async #endAll(): Promise<void> {
    const { scheduler, fleet } = this.#options
    await this.#aim()
    if (this.#ended) return
    for (const member of fleet.members) {
      member.machine.cutPower()
      this.#spoilCache(member)
    }
    await scheduler.sleep(scheduler.between(0, 300), 'dark')
  }

  /** As an upgrade does it: one after the other, each once the others have all of it. */
  async #restartAll(): Promise<void> {
    const { scheduler, fleet } = this.#options
    for (const member of fleet.members) {
      if (this.#ended) return
      if (member.isDown) continue
      member.isDown = true
      await member.machine.stop()
      member.isDown = false
      const untilMs = scheduler.nowMs + rollingWaitMsMax
      while (!this.#ended && scheduler.nowMs < untilMs && !(member.machine.serves && fleet.isWhole))
        await scheduler.sleep(100, 'rolling')
    }
  }

  async #aim(): Promise<void> {
    const { scheduler, nextTold } = this.#options
    if (!scheduler.oneIn(2)) return
    await Promise.race([nextTold(scheduler.random.pick(['written', 'conflict'])), scheduler.sleep(500, 'no append')])
  }

  /**
   * Only wiped: an older copy of it, from before the end of the log was cut off, would be taken for that of the log as it is. The real one's commits are
   * synced, so that no crash brings one back.
   */
  #spoilCache({ machine }: Member): void {
    if (!machine.isRunning && this.#options.scheduler.oneIn(4)) machine.cache.cut(0)
  }
}
