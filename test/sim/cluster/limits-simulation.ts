/**
 * Limits simulation: one seed of three brokers under faults, with one stream that is appended to, truncated, deleted and limited by several clients at once while others
 * read it. What was answered to be hidden is hidden from every linearizable read that begins afterwards; of changes by different clients none is lost; in the
 * end all brokers hide the same. Called by cluster-limits.test.ts.
 */
// First, for its effect on node:zlib.
import { emptyResult, runSeed, scheduledResult, withDeadline } from '../run-seed.ts'
import type { SimulationResult } from '../run-seed.ts'
import type { EventStream } from '../../../client/index.ts'
import { clusterCodes, expectedCodes } from '../answers.ts'
import { Network } from '../network.ts'
import { PatientClients } from '../patient-clients.ts'
import type { Scheduler } from '../scheduler.ts'
import { ClusterNemesis } from './cluster-nemesis.ts'
import { Fleet } from './fleet.ts'

const eventsMax = 3_000_000
const durationMs = 20_000
const pauseMs = 20
const livenessMsMax = 120_000
const sessionMs = 2_000
const topic = 'carts'
const name = 's'
const linearizable = { consistency: 'linearizable' } as const

/** What a client that alone changes one limit was told of it; undefined = the last attempt may have been or not. */
interface Owned {
  readonly limit: 'maxCount' | 'maxAgeMs'
  readonly values: { least: number }
  told: number | undefined
}

export function simulateLimits(seed: number): Promise<SimulationResult> {
  return runSeed({ seed }, eventsMax, (scheduler) => new LimitsRun(scheduler, seed))
}

class LimitsRun {
  readonly findings: string[] = []
  readonly #scheduler: Scheduler
  readonly #seed: number
  readonly #clients: PatientClients
  readonly #fleet: Fleet
  readonly #nemesis: ClusterNemesis
  readonly #owned: readonly Owned[] = [
    { limit: 'maxCount', values: { least: 1_000_000 }, told: 0 },
    { limit: 'maxAgeMs', values: { least: 1e12 }, told: 0 },
  ]
  /** Lower versions were answered to be hidden. */
  #floor = 0
  /** The highest version that was acknowledged. */
  #lastVersion = -1
  #isOver = false
  #isEnded = false
  #counts = { appends: 0, acknowledged: 0, reads: 0 }

  constructor(scheduler: Scheduler, seed: number) {
    this.#scheduler = scheduler
    this.#seed = seed
    const network = new Network(scheduler)
    this.#fleet = new Fleet({ scheduler, network, count: 3, settings: {}, sessionMs, lagMsMax: 1_000 })
    const { addresses } = this.#fleet
    const expected = new Set([...expectedCodes, ...clusterCodes])
    this.#clients = new PatientClients({ scheduler, network, addresses, timeoutsMs: [1_000, 5_000], expected })
    // Those that move leaderships, and let one go on that does not know it.
    const kinds = [
      'pause',
      'isolate',
      'cut',
      'cutOneWay',
      'cutFromEtcd',
      'slowLink',
      'kill',
      'powerAll',
      'rolling',
    ] as const
    const drawn = kinds.filter(() => scheduler.oneIn(2))
    const harm = { scheduler, network, fleet: this.#fleet, sessionMs, kinds: drawn, onClientDeath: () => undefined }
    this.#nemesis = new ClusterNemesis({ ...harm, nextTold: () => scheduler.sleep(100) })
  }

  async main(): Promise<void> {
    const scheduler = this.#scheduler
    const fleet = this.#fleet
    const supervision = fleet.members.map((member) => fleet.supervise(member, () => this.#isEnded))
    while (fleet.state.sessions.size < 3) await scheduler.sleep(50, 'begin')
    const first = await this.#clients.connect('first')
    await this.#clients.insist(() => first.admin.createTopic(topic, { replicationFactor: 3 }), 'topicExists')
    const work = [
      this.#client('appender', (stream) => this.#append(stream)),
      this.#client('truncater', (stream) => this.#truncate(stream)),
      ...this.#owned.map((owned) => this.#client(owned.limit, (stream) => this.#limit(stream, owned))),
      this.#client('reader', (stream) => this.#read(stream)),
      this.#client('second', (stream) => this.#read(stream)),
      this.#client('asker', (stream) => this.#ask(stream)),
    ]
    const harm = this.#nemesis.run()
    await scheduler.sleep(durationMs, 'phase')
    this.#nemesis.heal()
    await harm
    this.#isOver = true
    await this.#withDeadline('clients', Promise.all(work))
    await this.#withDeadline('end', this.#judge(first.topic(topic).stream(name)))
    await first.close()
    this.#isEnded = true
    await this.#withDeadline('stop', Promise.all(fleet.members.map(({ machine }) => machine.stop())))
    await this.#withDeadline('supervision', Promise.all(supervision))
  }

  result(): SimulationResult {
    const { members, invariants, findings } = this.#fleet
    const found = [...invariants.violations, ...findings, ...members.flatMap(({ machine }) => machine.bugs)]
    return {
      ...emptyResult(this.#seed),
      ...scheduledResult(this.#scheduler),
      ...this.#counts,
      refused: this.#clients.refused,
      faults: this.#nemesis.counts,
      findings: [...this.findings, ...found],
    }
  }

  async #append(stream: EventStream): Promise<void> {
    this.#counts.appends++
    const { version } = await stream.append({ type: 'Happened', data: 1 })
    this.#counts.acknowledged++
    if (version <= this.#lastVersion) this.findings.push(`version ${version} was used twice`)
    this.#lastVersion = Math.max(this.#lastVersion, version)
  }

  async #truncate(stream: EventStream): Promise<void> {
    const { random } = this.#scheduler
    const [before, last] = [this.#floor, this.#lastVersion]
    const isDeletion = random.below(3) === 0
    const wanted = isDeletion ? last + 1 : random.below(last + 2)
    const { truncateBefore } = await (isDeletion ? stream.delete() : stream.limit({ truncateBefore: wanted }))
    if (truncateBefore < wanted || truncateBefore < before)
      this.findings.push(`${truncateBefore} is kept first: ${wanted} was asked for, ${before} was before`)
    this.#floor = Math.max(this.#floor, truncateBefore)
  }

  async #limit(stream: EventStream, owned: Owned): Promise<void> {
    const { limit, values } = owned
    const value = ++values.least
    const before = owned.told
    owned.told = undefined
    const found = await stream.limit({ [limit]: value })
    if (found[limit] !== value) this.findings.push(`${limit} ${value}: found ${found[limit]}, ${before} was before`)
    owned.told = value
  }

  async #read(stream: EventStream): Promise<void> {
    const floor = this.#floor
    const backwards = this.#scheduler.oneIn(2)
    this.#counts.reads++
    for await (const { version } of stream.read({ ...linearizable, backwards })) {
      if ((version ?? -1) < floor) this.findings.push(`version ${version} was read, ${floor} is the first that is kept`)
    }
  }

  async #ask(stream: EventStream): Promise<void> {
    const [floor, before] = [this.#floor, this.#owned.map(({ told }) => told)]
    const { firstVersion } = await stream.info(linearizable)
    if (firstVersion >= 0 && firstVersion < floor)
      this.findings.push(`${firstVersion} is said to be first, ${floor} is the first that is kept`)
    // Not linearizable: but it is answered by who leads, and whoever asks has seen that the limits are there.
    const limits = await stream.limits()
    for (const [place, { limit }] of this.#owned.entries())
      if (limits[limit] < (before[place] ?? 0) && this.#isOver)
        this.findings.push(`${limit} ${limits[limit]} is in force, ${before[place]} was answered`)
  }

  /** Everything is well again: what holds is what was answered, at all brokers. */
  async #judge(stream: EventStream): Promise<void> {
    const found = await this.#clients.insist(() => stream.limits())
    for (const { limit, told, values } of this.#owned) {
      const isRight = told === undefined ? found[limit] <= values.least : found[limit] === told
      if (!isRight) this.findings.push(`${limit} ${found[limit]} in the end, ${told ?? 'unknown'} was answered last`)
    }
    if (found.truncateBefore < this.#floor) this.findings.push(`${found.truncateBefore} in the end, not ${this.#floor}`)
    await this.#clients.insist(() => this.#read(stream))
    const same = ({ parts }: Fleet['members'][number]): boolean => {
      if (parts?.partitions.has(topic) !== true) return false // it is on its way
      const limits = parts.partitions.anyReplica(topic, 0).log.limits.get(name)
      return JSON.stringify(limits) === JSON.stringify(found)
    }
    while (!this.#fleet.members.every(same)) await this.#scheduler.sleep(50, 'same')
  }

  /** One call after the other, until all is over; what a client must expect is no finding. */
  async #client(who: string, act: (stream: EventStream) => Promise<void>): Promise<void> {
    const scheduler = this.#scheduler
    const playhead = await this.#clients.connect(who)
    const stream = playhead.topic(topic).stream(name)
    for (let isLast = false; !isLast; ) {
      await scheduler.sleep(scheduler.between(0, pauseMs), who)
      isLast = this.#isOver
      await (isLast ? this.#clients.insist(() => act(stream)) : act(stream)).catch((error: unknown) =>
        this.#clients.expect(error),
      )
    }
    await playhead.close()
  }

  #withDeadline<T>(what: string, promise: Promise<T>): Promise<T> {
    return withDeadline(this.#scheduler, livenessMsMax, what, promise)
  }
}
