/**
 * Nemesis: does harm to one machine and its network, as the seed says: which kinds of fault a run has, when, and for how long.
 * Invariant: after `heal` nothing is wrong any more and the broker runs, if it can. Neighbours: simulation.ts lets it run beside the sessions.
 */
import type { Machine } from './machine.ts'
import type { Network } from './network.ts'
import type { Rot } from './rot.ts'
import type { Scheduler } from './scheduler.ts'

const faults = {
  kill: true,
  power: true,
  stop: true,
  reset: true,
  cut: true,
  cutOneWay: true,
  full: true,
  syncError: true,
  writeError: true,
  slow: true,
  skew: true,
  clientDeath: true,
  flip: true,
  flipSidecar: true,
  unreadable: true,
  cacheRot: true,
} as const
export type Fault = keyof typeof faults
export const faultKinds = Object.keys(faults) as Fault[]

export interface NemesisOptions {
  readonly scheduler: Scheduler
  readonly machine: Machine
  readonly network: Network
  readonly rot: Rot
  /** Only these kinds; drawn when absent. */
  readonly kinds?: readonly Fault[]
  readonly onClientDeath: () => void
  /** Resolves when a client hears of its next append, or of its next conflict: the worst moments for a power cut, if that was told too early. */
  readonly nextTold: (what: 'written' | 'conflict') => Promise<void>
}

export class Nemesis {
  readonly counts: Partial<Record<Fault, number>> = {}
  readonly #options: NemesisOptions
  readonly #kinds: readonly Fault[]
  readonly #pauseMs: number
  #ended = false
  /** The broker is meant to be down. */
  #down = false
  /** The broker may take for damage what can be read again, until it is started again. */
  #remembersPages = false

  constructor(options: NemesisOptions) {
    const { scheduler, kinds = faultKinds.filter(() => scheduler.oneIn(2)) } = options
    this.#options = options
    this.#kinds = kinds.length > 0 ? kinds : ['power']
    this.#pauseMs = scheduler.random.pick([50, 200, 800])
  }

  /** Harms until `heal`. */
  async run(): Promise<void> {
    const { scheduler } = this.#options
    while (!this.#ended) {
      await scheduler.sleep(scheduler.between(0, 2 * this.#pauseMs), 'nemesis')
      if (this.#ended) return
      const kind = scheduler.random.pick(this.#kinds)
      scheduler.note(`fault ${kind}`)
      await this.#strike(kind)
    }
  }

  /** Starts the broker again whenever it is not there and should be. */
  async supervise(): Promise<void> {
    const { scheduler, machine } = this.#options
    while (!this.#ended) {
      if (!this.#down && !machine.isRunning) await machine.start()
      await scheduler.sleep(scheduler.between(1, 50), 'supervise')
    }
  }

  async heal(): Promise<void> {
    const { scheduler, machine, network, rot } = this.#options
    this.#ended = true
    scheduler.note('heal')
    network.cut = 'none'
    machine.disk.disarm()
    machine.wallSkewMs = 0
    rot.healPages()
    if (this.#remembersPages || rot.isCacheSpoilt || machine.isEnding) machine.kill()
    this.#remembersPages = false
    rot.wipeSpoiltCache()
    // Two starts: one that was under way may have met the last fault.
    for (let tries = 0; tries < 3 && !machine.serves; tries++) {
      await machine.start()
      for (let waits = 0; machine.isRunning && !machine.serves && waits < 200; waits++)
        await scheduler.sleep(50, 'wait')
    }
  }

  async #strike(kind: Fault): Promise<void> {
    const { scheduler, machine, network, rot } = this.#options
    const { disk } = machine
    if (kind === 'flip') return this.#count(kind, rot.flipRecord())
    if (kind === 'flipSidecar') return this.#count(kind, rot.flipSidecar())
    if (kind === 'unreadable') return this.#count(kind, await this.#spoilPages())
    this.#count(kind)
    if (kind === 'kill' || kind === 'power' || kind === 'stop' || kind === 'cacheRot') return this.#endBroker(kind)
    if (kind === 'reset') return network.reset(1 + scheduler.random.below(3))
    if (kind === 'clientDeath') return this.#options.onClientDeath()
    if (kind === 'syncError')
      return disk.fail({ call: 'sync', suffix: scheduler.random.pick(['.log', '']), code: 'EIO' })
    if (kind === 'writeError') {
      const call = scheduler.random.pick(['write', 'allocate', 'rename', 'syncDirectory'] as const)
      const code = scheduler.random.pick(['EIO', disk.noRoom] as const)
      return disk.fail({ call, suffix: scheduler.random.pick(['.log', '']), code })
    }
    if (kind === 'skew') return machine.skewWallClock(scheduler.between(-3_600_000, 3_600_000))
    if (kind === 'cut') network.cut = 'all'
    else if (kind === 'cutOneWay') network.cut = scheduler.random.pick(['requests', 'replies'])
    else if (kind === 'full') disk.isFull = true
    else disk.slowness = 20
    const ended = this.#endLater(kind)
    // Half the times other harm comes on top.
    if (scheduler.oneIn(2)) await ended
  }

  async #endLater(kind: Fault): Promise<void> {
    const { scheduler, machine, network } = this.#options
    await scheduler.sleep(scheduler.between(10, 3000), 'harm')
    if (kind === 'cut' || kind === 'cutOneWay') network.cut = 'none'
    else if (kind === 'full') machine.disk.isFull = false
    else machine.disk.slowness = 1
  }

  /** What found nothing to strike at does not count. */
  #count(kind: Fault, struck = true): void {
    if (struck) this.counts[kind] = (this.counts[kind] ?? 0) + 1
    if (this.#options.rot.last !== '') this.#options.scheduler.note(this.#options.rot.last)
    this.#options.rot.last = ''
  }

  /** For a while; then the broker starts again, because it remembers what it could not read. */
  async #spoilPages(): Promise<boolean> {
    const { scheduler, machine, rot } = this.#options
    let struck = false
    for (let pages = 1 + scheduler.random.below(3); pages > 0; pages--) struck = rot.spoilPage() || struck
    if (!struck) return false
    this.#remembersPages = true
    const { starts } = machine
    const isStarting = machine.isRunning && !machine.serves
    if (scheduler.oneIn(2)) machine.kill()
    await scheduler.sleep(scheduler.between(10, 1000), 'harm')
    if (isStarting || machine.starts !== starts) rot.startedUnreadable()
    if (this.#ended) return true
    rot.healPages()
    machine.kill()
    this.#remembersPages = false
    return true
  }

  async #endBroker(kind: 'kill' | 'power' | 'stop' | 'cacheRot'): Promise<void> {
    const { scheduler, machine } = this.#options
    if (scheduler.oneIn(2)) {
      const told = this.#options.nextTold(scheduler.random.pick(['written', 'conflict']))
      await Promise.race([told, scheduler.sleep(500, 'no append')])
    }
    this.#down = true
    if (kind === 'stop') await machine.stop()
    else if (kind === 'power') machine.cutPower()
    else machine.kill()
    await scheduler.sleep(scheduler.between(0, 300), 'down')
    this.#spoilCache(kind === 'cacheRot')
    this.#down = false
    if (this.#ended || !scheduler.oneIn(4)) return
    // Cut off in its recovery.
    const starting = machine.start()
    await scheduler.sleep(scheduler.between(0, 15), 'starting')
    if (kind === 'power') machine.cutPower()
    else machine.kill()
    await starting
  }

  /** Between two runs: wiped, or an older copy of it put back, or some of its values cannot be read. Where records were lost too, see Rot. */
  #spoilCache(spoilsValues: boolean): void {
    const { scheduler, machine, rot } = this.#options
    if (machine.isRunning || (rot.keepsDerived && this.#kinds.includes('flip'))) return
    const { cache } = machine
    if (spoilsValues) for (let values = 1 + scheduler.random.below(3); values > 0; values--) rot.spoilCache()
    else if (scheduler.oneIn(4)) cache.cut(0)
    else if (scheduler.oneIn(6)) cache.cut(scheduler.random.below(cache.length + 1))
  }
}
