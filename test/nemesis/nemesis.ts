/**
 * Nemesis: does harm to a fleet of real machines, as the seed says: which kinds of fault a round has, when, to whom, for how long; several at once.
 * Invariant: after `heal` nothing is wrong any more, and everything that should run is started again. Neighbours: nemesis-run.ts lets it run beside the sessions;
 * test/sim/cluster/cluster-nemesis.ts is the same for simulated machines.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scheduler } from '../sim/scheduler.ts'
import { etcdParty, sessionMs } from './fleet.ts'
import type { Fleet } from './fleet.ts'
import type { Machine } from './machine.ts'
import { clients } from './machine-network.ts'

const kinds = {
  kill: true,
  killAll: true,
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
  etcdKill: true,
  etcdPause: true,
  slow: true,
  clientDeath: true,
} as const
export type NemesisFault = keyof typeof kinds
export const nemesisFaults = Object.keys(kinds) as NemesisFault[]

export interface NemesisOptions {
  readonly scheduler: Scheduler
  readonly fleet: Fleet
  /** Only these kinds; drawn when absent. */
  readonly kinds?: readonly NemesisFault[] | undefined
  readonly onClientDeath: () => void
  /** Resolves when a client hears of its next append, or of its next conflict. */
  readonly nextTold: (what: 'written' | 'conflict') => Promise<void>
  readonly note: (line: string) => void
  readonly onFinding: (finding: string) => void
}

/** After a cut of the power the broker goes on for up to so long. */
const agonyMsMax = 60
/** How long a broker of a rolling restart waits for the others to be in sync. */
const rollingWaitMsMax = 15_000
/** A disk is lost only while all replicas are in sync: so long is waited for that. */
const wholeWaitMsMax = 8_000

export class Nemesis {
  readonly counts: Partial<Record<NemesisFault, number>> = {}
  readonly kinds: readonly NemesisFault[]
  readonly #options: NemesisOptions
  readonly #pauseMs: number
  /** Harm that lasts: how to end it. */
  readonly #lasting = new Set<() => Promise<void>>()
  readonly #working = new Set<Promise<void>>()
  readonly #over = new AbortController()
  #isAtEtcd = false

  constructor(options: NemesisOptions) {
    const { scheduler, kinds: given } = options
    const drawn = given ?? nemesisFaults.filter(() => scheduler.oneIn(2))
    this.#options = options
    this.kinds = drawn.length > 0 ? drawn : ['kill']
    this.#pauseMs = scheduler.random.pick([200, 700, 2_000])
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted
  }

  /** Harms for so long, then heals. Rejects with what no harm may meet. */
  async run(durationMs: number): Promise<void> {
    const { scheduler, note } = this.#options
    const until = performance.now() + durationMs
    while (performance.now() < until) {
      await sleep(scheduler.between(0, 2 * this.#pauseMs))
      const kind = scheduler.random.pick(this.kinds)
      const harm = this.#strike(kind).catch((error: Error) => {
        this.#options.onFinding(`${kind}: ${error.stack ?? error.message}`)
      })
      this.#working.add(harm)
      void harm.finally(() => this.#working.delete(harm))
      // Half the times other harm comes on top.
      if (scheduler.oneIn(2)) await Promise.race([harm, sleep(Math.max(0, until - performance.now()))])
    }
    note('heal')
    this.#over.abort()
    for (const end of this.#lasting) await end()
    await Promise.all(this.#working)
  }

  /** The leader of a partition is killed, nothing else being wrong; started again some time after. Answers the moment. */
  async killLeader(topic: string, partition: number): Promise<number> {
    const { fleet, scheduler } = this.#options
    const machine = await fleet.leaderOf(topic, partition)
    if (machine === undefined) throw new Error(`${topic}/${partition}: found no leader, wanted one to kill`)
    this.#count('kill', machine.party)
    machine.isDown = true
    const atMs = performance.now()
    await machine.kill()
    this.#working.add(this.#restartLater(machine, scheduler.between(0.5, 2) * sessionMs))
    return atMs
  }

  /** Of all brokers and of etcd, nothing else being wrong. */
  async cutAllPower(): Promise<void> {
    const { fleet } = this.#options
    this.#count('powerAll', 'and of etcd')
    for (const machine of fleet.machines) machine.isDown = true
    await fleet.cutAllPower(0, true)
    for (const machine of fleet.machines) machine.isDown = false
  }

  async #restartLater(machine: Machine, afterMs: number): Promise<void> {
    await this.#wait(afterMs)
    machine.isDown = false
  }

  #count(kind: NemesisFault, text = ''): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
    this.#options.note(`fault ${kind} ${text}`)
  }

  async #strike(kind: NemesisFault): Promise<void> {
    const { scheduler, fleet, onClientDeath } = this.#options
    if (kind === 'clientDeath') {
      this.#count(kind)
      return onClientDeath()
    }
    if (kind === 'killAll' || kind === 'powerAll') return await this.#endAll(kind)
    if (kind === 'rolling') return await this.#restartAll()
    if (kind === 'etcdKill' || kind === 'etcdPause') return await this.#harmEtcd(kind)
    const machine = scheduler.random.pick(fleet.machines)
    if (kind === 'loseDisk') await this.#untilWhole(wholeWaitMsMax)
    if (kind === 'kill' || kind === 'power' || kind === 'stop' || kind === 'loseDisk')
      return await this.#end(machine, kind)
    if (kind === 'pause') {
      if (machine.isDown) return
      this.#count(kind, machine.party)
      machine.pause()
      return await this.#last(() => machine.resume(), scheduler.between(0.5, 3))
    }
    if (kind === 'slow') {
      const delayMs = scheduler.random.pick([20, 100, 500])
      this.#count(kind, `${machine.party} by ${delayMs} ms`)
      machine.slowDisk.delayMs = delayMs
      return await this.#last(() => {
        machine.slowDisk.delayMs = 0
      })
    }
    return await this.#cut(kind, machine.party)
  }

  /** One end of it is a broker always. */
  async #cut(kind: 'cut' | 'cutOneWay' | 'isolate' | 'cutFromEtcd', party: string): Promise<void> {
    const { scheduler, fleet } = this.#options
    const { network } = fleet
    const others = fleet.parties.filter((other) => other !== party)
    const other = kind === 'cutFromEtcd' ? etcdParty : scheduler.random.pick(others)
    const from = kind === 'isolate' ? others.filter((each) => each !== clients || scheduler.oneIn(2)) : [other]
    const pairs = from.flatMap((each): [string, string][] => [
      [party, each],
      [each, party],
    ])
    const cuts = kind === 'cutOneWay' ? [scheduler.random.pick(pairs)] : pairs
    this.#count(kind, cuts.map((pair) => pair.join('→')).join(', '))
    const mend = await Promise.all(cuts.map(([sender, receiver]) => network.cut(sender, receiver)))
    await this.#last(async () => {
      for (const end of mend) await end()
    })
  }

  async #harmEtcd(kind: 'etcdKill' | 'etcdPause'): Promise<void> {
    const { fleet } = this.#options
    if (this.#isAtEtcd || this.#isOver) return
    this.#isAtEtcd = true
    this.#count(kind)
    if (kind === 'etcdPause') fleet.etcd.pause()
    else await fleet.etcd.kill()
    await this.#last(() => (kind === 'etcdPause' ? fleet.etcd.resume() : fleet.etcd.start()))
    this.#isAtEtcd = false
  }

  /** Ended after a while, or by healing. Shorter and longer than what is noticed. */
  async #last(end: () => void | Promise<void>, sessions = this.#options.scheduler.between(0.1, 3)): Promise<void> {
    let ending: Promise<void> | undefined
    const endOnce = (): Promise<void> => {
      ending ??= Promise.resolve(end()).finally(() => this.#lasting.delete(endOnce))
      return ending
    }
    this.#lasting.add(endOnce)
    await this.#wait(sessions * sessionMs)
    await endOnce()
  }

  /** Half the times in the moment in which a client is told something. */
  async #aim(): Promise<void> {
    const { scheduler, nextTold } = this.#options
    if (scheduler.oneIn(2))
      await Promise.race([nextTold(scheduler.random.pick(['written', 'conflict'])), this.#wait(500)])
  }

  async #wait(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#over.signal }).catch(() => undefined)
  }

  async #end(machine: Machine, kind: 'kill' | 'power' | 'stop' | 'loseDisk'): Promise<void> {
    const { scheduler, fleet } = this.#options
    if (machine.isDown || this.#isOver) return
    machine.isDown = true
    try {
      // Who stands still does not stop; a disk that waits is no reason to.
      if (kind === 'loseDisk' && !(await fleet.loseDisk(machine).catch(() => false))) return
      this.#count(kind, machine.party)
      await this.#aim()
      if (kind === 'kill') await machine.kill()
      else if (kind === 'power') await machine.cutPower(scheduler.random.below(agonyMsMax))
      else if (kind === 'stop') await machine.stop()
      await this.#wait(scheduler.oneIn(2) ? scheduler.between(0, 500) : scheduler.between(0, 2 * sessionMs))
    } finally {
      machine.isDown = false
    }
    if (this.#isOver || !scheduler.oneIn(4)) return
    // Cut off in its recovery.
    await this.#wait(scheduler.between(300, 1_500))
    if (machine.isDown) return
    this.#count('kill', `${machine.party} while it starts`)
    await machine.kill()
  }

  /** Of those that nobody is at already. */
  async #endAll(kind: 'killAll' | 'powerAll'): Promise<void> {
    const { scheduler, fleet } = this.#options
    if (fleet.machines.some(({ isDown }) => isDown) || this.#isOver) return
    for (const machine of fleet.machines) machine.isDown = true
    await this.#aim()
    try {
      if (kind === 'killAll') {
        this.#count(kind)
        await Promise.all(fleet.machines.map((machine) => machine.kill()))
      } else {
        const withEtcd = scheduler.oneIn(2) && !this.#isAtEtcd
        this.#isAtEtcd ||= withEtcd
        this.#count(kind, withEtcd ? 'and of etcd' : '')
        await fleet.cutAllPower(scheduler.random.below(agonyMsMax), withEtcd)
        if (withEtcd) this.#isAtEtcd = false
      }
      await this.#wait(scheduler.between(0, 300))
    } finally {
      for (const machine of fleet.machines) machine.isDown = false
    }
  }

  /** As an upgrade does it: one after the other, each once the others have all of it. */
  async #restartAll(): Promise<void> {
    const { fleet } = this.#options
    this.#count('rolling')
    for (const machine of fleet.machines) {
      if (this.#isOver) return
      if (machine.isDown) continue
      machine.isDown = true
      await machine.stop()
      machine.isDown = false
      await this.#untilWhole(rollingWaitMsMax)
    }
  }

  async #untilWhole(msMax: number): Promise<void> {
    const untilMs = performance.now() + msMax
    while (!this.#isOver && performance.now() < untilMs && !(await this.#options.fleet.isWhole())) await this.#wait(200)
  }
}
