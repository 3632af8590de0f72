/**
 * Simulation: one seed, from an empty disk to a verdict. A safety phase with faults, then everything heals, then a liveness phase in which every
 * session must get an append and a read through, then a restart and a look at all there is.
 * The same seed gives the same run, event by event: `hash` says so. Called by run.ts and by the tests.
 */
// First, for its effect on node:zlib.
import { recordedResult, runSeed, withDeadline } from './run-seed.ts'
import type { SeedOptions, SimulationResult } from './run-seed.ts'
import type { Anomaly, AnomalyKind, Dump } from '../history/history.ts'
import { dataDirectory } from './lone-broker.ts'
import { Machine } from './machine.ts'
import type { MachineOptions } from './machine.ts'
import { faultKinds, Nemesis } from './nemesis.ts'
import type { Fault } from './nemesis.ts'
import { Network } from './network.ts'
import { Recorder } from './recorder.ts'
import { Rot } from './rot.ts'
import type { Scheduler } from './scheduler.ts'
import { Session } from './session.ts'
import type { SessionOptions } from './session.ts'
import { SessionPlaces } from './session-places.ts'
import { topicName, Workload } from './workload.ts'
import { overwriteLetGo } from '../overwrite-let-go.ts'

overwriteLetGo()

export interface SimulationOptions extends SeedOptions {
  /** Only these faults; drawn when absent. */
  readonly kinds?: readonly Fault[]
  /** For planted bugs. */
  readonly wrapFileSystem?: MachineOptions['wrapFileSystem']
}

/** Rests on the stream index and the producers' state, which cannot be made anew from records that are lost. */
const ofDerived: ReadonlySet<AnomalyKind> = new Set<AnomalyKind>([
  'brokenCondition',
  'disagreeingRetry',
  'duplicate',
  'falseConflict',
  'nonmonotonicSend',
  'phantomConflict',
  'reorderedProducer',
  'staleRead',
  'versionGap',
])

const ofRot = new Set<Fault>(['flip', 'flipSidecar', 'unreadable', 'cacheRot'])
const eventsMax = 3_000_000
/** A session that gets nothing done for this long after everything healed is stuck. */
const livenessMsMax = 60_000

export function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return runSeed(options, eventsMax, (scheduler) => new Run(scheduler, options))
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
  readonly #rot: Rot
  readonly #sessions: SessionPlaces

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
      cleanIntervalMs: random.pick([50, 1_000]),
    }
    this.#machine = new Machine({
      scheduler,
      network: this.#network,
      settings,
      ...(wrapFileSystem && { wrapFileSystem }),
    })
    this.#recorder = new Recorder(scheduler)
    const { disk, cache } = this.#machine
    this.#rot = new Rot({ random, disk, cache, directory: `${dataDirectory}/topics`, topic: topicName })
    // Of a file that is gone nobody can tell any more whether its rot was found.
    this.#workload = new Workload(scheduler, { mayTrim: !kinds?.some((kind) => ofRot.has(kind)) })
    const network = this.#network
    const open = (name: string) => Session.open(this.#sessionOptions(), name)
    this.#sessions = new SessionPlaces({ scheduler, workload: this.#workload, open })
    const onClientDeath = () => this.#sessions.killOne()
    const nextTold = (what: 'written' | 'conflict') => this.#recorder.nextTold(what)
    const [machine, rot] = [this.#machine, this.#rot]
    const harm = { scheduler, machine, network, rot, onClientDeath, nextTold }
    const drawn = this.#workload.trims ? faultKinds.filter((kind) => !ofRot.has(kind) && scheduler.oneIn(2)) : undefined
    const chosen = kinds ?? drawn
    this.#nemesis = new Nemesis({ ...harm, ...(chosen && { kinds: chosen }) })
  }

  async main(): Promise<void> {
    const scheduler = this.#scheduler
    await this.#machine.start()
    const first = await Session.open(this.#sessionOptions(), 'first')
    await first.createTopic()
    const until = scheduler.nowMs + this.#workload.durationMs
    const sessions = this.#sessions.run()
    const harm = this.#nemesis.run()
    const supervision = this.#nemesis.supervise()
    while (scheduler.nowMs < until) await scheduler.sleep(50, 'phase')
    await this.#nemesis.heal()
    await Promise.all([harm, supervision])
    await this.#nemesis.heal()
    this.#sessions.end()
    await this.#withDeadline('liveness', sessions)
    await this.#withDeadline('close', first.close())
    await this.#lookAtAll()
  }

  result(): SimulationResult {
    const recorded = recordedResult(this.#scheduler, this.#recorder)
    const isJudged = ({ kind, partition }: Anomaly) => !ofDerived.has(kind) || !this.#rot.losesDerived(partition)
    const { starts, reports, bugs } = this.#machine
    return {
      ...recorded,
      seed: this.#seed,
      anomalies: recorded.anomalies.filter(isJudged),
      findings: [...this.findings, ...bugs],
      faults: this.#nemesis.counts,
      starts,
      reports,
    }
  }

  #sessionOptions(): SessionOptions {
    const onFinding = (finding: string) => this.findings.push(finding)
    return {
      scheduler: this.#scheduler,
      network: this.#network,
      recorder: this.#recorder,
      workload: this.#workload,
      rot: this.#rot,
      onFinding,
    }
  }

  /** Once as it is, once after a restart; then the files, offline. */
  async #lookAtAll(): Promise<void> {
    const scheduler = this.#scheduler
    this.#rot.passed()
    const before = await this.#contents('before')
    if (scheduler.oneIn(2)) await this.#withDeadline('stop', this.#machine.stop())
    else this.#machine.cutPower()
    if (scheduler.oneIn(2) && this.#rot.isClean) this.#machine.cache.cut(0)
    await this.#machine.start()
    const after = await this.#contents('after')
    this.#compare(before, after)
    await this.#withDeadline('stop', this.#machine.stop())
    this.#judgeVerified(await this.#machine.verify())
  }

  /** Offline, all that is wrong with segments is found, and nothing else. */
  #judgeVerified(damages: readonly { readonly file: string }[]): void {
    const { flippedFiles, damagedFiles } = this.#rot
    // Sidecars made after a start that could not read everything lack what stood there: docs/guarantees.md says so.
    const isExcused = (file: string) =>
      flippedFiles.has(file) || (file.endsWith('.idx') && this.#rot.losesDerivedOf(file))
    for (const damage of damages) if (!isExcused(damage.file)) this.findings.push(`verify: ${JSON.stringify(damage)}`)
    for (const file of damagedFiles) {
      if (!damages.some((damage) => damage.file === file))
        this.findings.push(`verify: found nothing in ${file}, wanted the bit that was flipped there`)
    }
  }

  /** All partitions and all streams, through a client. */
  async #contents(when: string): Promise<Omit<Dump, 'kind'>[]> {
    const session = await this.#withDeadline('look', Session.open(this.#sessionOptions(), `look-${when}`))
    const contents = await this.#withDeadline('look', session.contents())
    if (when === 'after') for (const dump of contents) this.#recorder.dump(dump)
    await session.close()
    return contents
  }

  /** What damage took, a cache may still have had before. */
  #compare(before: readonly Omit<Dump, 'kind'>[], after: readonly Omit<Dump, 'kind'>[]): void {
    for (const [place, { partition, entries }] of before.entries()) {
      const texts = new Map(entries.map((entry) => [entry.offset, JSON.stringify(entry)]))
      for (const entry of after[place]?.entries ?? []) {
        if (texts.get(entry.offset) !== JSON.stringify(entry) && !this.#isLost(partition, entry.offset))
          this.findings.push(`partition ${partition}: offset ${entry.offset} after a restart is not what it was`)
        texts.delete(entry.offset)
      }
      for (const offset of texts.keys()) {
        if (!this.#isLost(partition, offset))
          this.findings.push(`partition ${partition}: offset ${offset} is not there after a restart`)
      }
    }
  }

  #isLost(partition: number, offset: number): boolean {
    return this.#rot.explains(topicName, partition, offset, offset + 1)
  }

  #withDeadline<T>(what: string, promise: Promise<T>): Promise<T> {
    return withDeadline(this.#scheduler, livenessMsMax, what, promise)
  }
}
