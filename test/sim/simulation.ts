/**
 * Simulation: one seed, from an empty disk to a verdict. A safety phase with faults, then everything heals, then a liveness phase in which every
 * session must get an append and a read through, then a restart and a look at all there is.
 * The same seed gives the same run, event by event: `hash` says so. Called by run.ts and by the tests.
 */
import { verify } from '../../storage/verify.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import type { Anomaly } from '../history/history.ts'
import { DiskFileSystem } from './disk-file-system.ts'
import { dataDirectory, Machine } from './machine.ts'
import type { MachineOptions } from './machine.ts'
import { Nemesis } from './nemesis.ts'
import type { Fault } from './nemesis.ts'
import { Network } from './network.ts'
import { Recorder } from './recorder.ts'
import { Scheduler } from './scheduler.ts'
import { Session } from './session.ts'
import type { SessionOptions } from './session.ts'
import { SimulatedProcess } from './simulated-process.ts'
import { Workload } from './workload.ts'
import { overwriteLetGo } from '../overwrite-let-go.ts'

overwriteLetGo()

export interface SimulationOptions {
  readonly seed: number
  /** Only these faults; drawn when absent. */
  readonly kinds?: readonly Fault[]
  /** For planted bugs. */
  readonly wrapFileSystem?: MachineOptions['wrapFileSystem']
  readonly keepTrace?: boolean
}

export interface SimulationResult {
  readonly seed: number
  /** Of the whole trace. */
  readonly hash: number
  readonly anomalies: readonly Anomaly[]
  /** Whatever else should not have been. */
  readonly findings: readonly string[]
  readonly faults: Partial<Record<Fault, number>>
  readonly events: number
  readonly simulatedMs: number
  readonly appends: number
  readonly acknowledged: number
  readonly refused: number
  readonly reads: number
  readonly starts: number
  readonly reports: readonly string[]
  readonly trace: readonly string[]
}

const eventsMax = 3_000_000
/** A session that gets nothing done for this long after everything healed is stuck. */
const livenessMsMax = 60_000

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const scheduler = new Scheduler(new SeededRandom(options.seed))
  if (options.keepTrace) scheduler.lines = []
  const run = new Run(scheduler, options)
  try {
    await scheduler.run(() => run.main(), eventsMax)
  } catch (error) {
    run.findings.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  return run.result()
}

class Run {
  readonly findings: string[] = []
  readonly #scheduler: Scheduler
  readonly #seed: number
  readonly #network: Network
  readonly #machine: Machine
  readonly #recorder: Recorder
  readonly #workload: Workload
  readonly #nemesis: Nemesis
  readonly #sessions: (Session | undefined)[] = []
  #born = 0
  #isOver = false

  constructor(scheduler: Scheduler, { seed, kinds, wrapFileSystem }: SimulationOptions) {
    this.#scheduler = scheduler
    this.#seed = seed
    this.#network = new Network(scheduler)
    const { random } = scheduler
    const settings = {
      idleFloorMs: random.pick([1, 20, 100]),
      groupBytesMax: random.pick([8_192, 1 << 20]),
      tailCacheBytes: random.pick([0, 100_000, 1 << 24]),
      checkpointIntervalMs: random.pick([50, 500, 5_000]),
      openSegmentsMax: random.pick([2, 64]),
      indexMemoryBytes: random.pick([10_000, 1 << 27]),
      diskFullPauseMs: random.pick([0, 1_000]),
    }
    this.#machine = new Machine({
      scheduler,
      network: this.#network,
      settings,
      ...(wrapFileSystem && { wrapFileSystem }),
    })
    this.#recorder = new Recorder(scheduler)
    this.#workload = new Workload(scheduler)
    const network = this.#network
    const onClientDeath = () => this.#endSession()
    const nextAcknowledgement = () => this.#recorder.nextAcknowledgement()
    const harm = { scheduler, machine: this.#machine, network, onClientDeath, nextAcknowledgement }
    this.#nemesis = new Nemesis({ ...harm, ...(kinds && { kinds }) })
  }

  async main(): Promise<void> {
    const scheduler = this.#scheduler
    await this.#machine.start()
    const first = await Session.open(this.#sessionOptions(), 'first')
    await first.createTopic()
    const until = scheduler.nowMs + scheduler.random.pick([500, 1_500, 4_000])
    const sessions = Array.from({ length: this.#workload.sessions }, (_, index) => this.#live(index))
    const harm = this.#nemesis.run()
    const supervision = this.#nemesis.supervise()
    while (scheduler.nowMs < until) await scheduler.sleep(50, 'phase')
    await this.#nemesis.heal()
    await Promise.all([harm, supervision])
    await this.#nemesis.heal()
    this.#isOver = true
    await this.#withDeadline('liveness', Promise.all(sessions))
    await this.#withDeadline('close', first.close())
    await this.#lookAtAll()
  }

  result(): SimulationResult {
    const { anomalies } = this.#recorder.finish()
    const { appends, acknowledged, refused, reads } = this.#recorder
    const { hash, events, nowMs, lines = [] } = this.#scheduler
    const { starts, reports, bugs } = this.#machine
    return {
      seed: this.#seed,
      hash,
      anomalies,
      findings: [...this.findings, ...bugs],
      faults: this.#nemesis.counts,
      events,
      simulatedMs: nowMs,
      appends,
      acknowledged,
      refused,
      reads,
      starts,
      reports,
      trace: lines,
    }
  }

  #sessionOptions(): SessionOptions {
    const onFinding = (finding: string) => this.findings.push(finding)
    return {
      scheduler: this.#scheduler,
      network: this.#network,
      recorder: this.#recorder,
      workload: this.#workload,
      onFinding,
    }
  }

  /** One place for a session, with tasks until the end, and one append and one read after it. */
  async #live(place: number): Promise<void> {
    const scheduler = this.#scheduler
    const { pauseMs } = this.#workload
    for (;;) {
      const session = await Session.open(this.#sessionOptions(), `c${this.#born++}`)
      this.#sessions[place] = session
      while (!this.#isOver && session.process.isAlive) {
        await scheduler.sleep(scheduler.between(0, 2 * pauseMs), 'pause')
        if (session.process.isAlive && !this.#isOver)
          await Promise.race([session.run(this.#workload.task()), session.death])
      }
      if (!session.process.isAlive) continue
      this.#sessions[place] = undefined
      for (const task of ['append', 'replay', 'tail'] as const)
        while (!(await session.run(task))) await scheduler.sleep(20)
      return session.close()
    }
  }

  #endSession(): void {
    const place = this.#scheduler.random.below(this.#sessions.length + 1)
    this.#sessions[place]?.die()
    this.#sessions[place] = undefined
  }

  /** Once as it is, once after a restart; then the files, offline. */
  async #lookAtAll(): Promise<void> {
    const scheduler = this.#scheduler
    const before = await this.#contents('before')
    if (scheduler.oneIn(2)) await this.#withDeadline('stop', this.#machine.stop())
    else this.#machine.cutPower()
    if (scheduler.oneIn(2)) this.#machine.cache.cut(0)
    await this.#machine.start()
    const after = await this.#contents('after')
    if (before !== after) this.findings.push('the contents after a restart are not those before it')
    await this.#withDeadline('stop', this.#machine.stop())
    const process = new SimulatedProcess(scheduler, 'verify')
    const fileSystem = new DiskFileSystem(this.#machine.disk, process)
    const scratchDirectory = '/verify'
    await fileSystem.makeDirectory(scratchDirectory)
    const options = { directory: dataDirectory, fileSystem, clock: process.clock, scratchDirectory }
    const { damage: damages } = await verify(options)
    for (const damage of damages) this.findings.push(`verify: ${JSON.stringify(damage)}`)
  }

  /** All partitions and all streams, through a client. */
  async #contents(when: string): Promise<string> {
    const session = await this.#withDeadline('look', Session.open(this.#sessionOptions(), `look-${when}`))
    const contents = await this.#withDeadline('look', session.contents())
    if (when === 'after') for (const dump of contents) this.#recorder.dump(dump)
    await session.close()
    return JSON.stringify(contents)
  }

  async #withDeadline<T>(what: string, promise: Promise<T>): Promise<T> {
    const scheduler = this.#scheduler
    let timer: { cancel(): void } | undefined
    const overdue = new Promise<never>((_, reject) => {
      timer = scheduler.after(livenessMsMax, 'overdue', () =>
        reject(new Error(`${what}: not done after ${livenessMsMax} ms`)),
      )
    })
    try {
      return await Promise.race([promise, overdue])
    } finally {
      timer?.cancel()
    }
  }
}
