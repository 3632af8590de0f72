/**
 * Compaction simulation: one seed of one broker under faults, with a topic of which only the newest event of each stream stays, while several clients append to few
 * streams and read them. A version that an event was answered or read with is that event's for ever; the newest event is always there; no version is
 * answered twice, whatever is killed, whatever the cache has forgotten. Called by compaction-simulation.test.ts.
 */
// First, for its effect on node:zlib.
import { emptyResult, runSeed, scheduledResult, withDeadline } from './run-seed.ts'
import type { SimulationResult } from './run-seed.ts'
import type { EventStream, Playhead } from '../../client/index.ts'
import { expectedCodes } from './answers.ts'
import { brokerPort, dataDirectory } from './lone-broker.ts'
import { Machine } from './machine.ts'
import { Nemesis } from './nemesis.ts'
import type { Fault } from './nemesis.ts'
import { Network } from './network.ts'
import { PatientClients } from './patient-clients.ts'
import { Rot } from './rot.ts'
import type { Scheduler } from './scheduler.ts'

const eventsMax = 3_000_000
const livenessMsMax = 120_000
const topic = 'carts'
const streams = ['s0', 's1', 's2', 's3', 's4']
const clientCount = 3
/** Those that end the broker, and with it what its cache has: it may go back to an older state of itself. */
const kinds: readonly Fault[] = ['kill', 'power', 'stop', 'reset', 'full', 'slow']

/** What is known of one stream, by anybody. */
interface Known {
  /** The event of each version that was answered or read. */
  readonly events: Map<number, string>
  readonly versions: Map<string, number>
  /** The highest that was answered. */
  lastVersion: number
}

interface CompactionResult extends SimulationResult {
  /** Events that were answered or read and are not there any more in the end. */
  readonly removed: number
}

export async function simulateCompaction(seed: number): Promise<CompactionResult> {
  let removed = 0
  const onRemoved = (count: number) => {
    removed = count
  }
  const result = await runSeed({ seed }, eventsMax, (scheduler) => new CompactionRun(scheduler, seed, onRemoved))
  return { ...result, removed }
}

class CompactionRun {
  readonly findings: string[] = []
  readonly #scheduler: Scheduler
  readonly #onRemoved: (count: number) => void
  readonly #seed: number
  readonly #clients: PatientClients
  readonly #machine: Machine
  readonly #nemesis: Nemesis
  readonly #known = new Map(streams.map((name): [string, Known] => [name, noneKnown()]))
  readonly #durationMs: number
  #values = 0
  #isOver = false
  #counts = { appends: 0, acknowledged: 0, reads: 0 }

  constructor(scheduler: Scheduler, seed: number, onRemoved: (count: number) => void) {
    const { random } = scheduler
    this.#onRemoved = onRemoved
    this.#scheduler = scheduler
    this.#seed = seed
    this.#durationMs = random.pick([2_000, 4_000])
    const network = new Network(scheduler)
    const [addresses, timeoutsMs] = [`broker:${brokerPort}`, [300, 1_000, 5_000]]
    this.#clients = new PatientClients({ scheduler, network, addresses, timeoutsMs, expected: expectedCodes })
    const settings = {
      cleanIntervalMs: random.pick([20, 200]),
      checkpointIntervalMs: random.pick([50, 1_000, 60_000]),
      checkpointBytes: random.pick([100_000, 1 << 28]),
      indexMemoryBytes: random.pick([20_000, 1 << 27]),
      tailCacheBytes: random.pick([0, 1 << 24]),
    }
    const machine = new Machine({ scheduler, network, settings })
    this.#machine = machine
    const { disk, cache } = machine
    const rot = new Rot({ random, disk, cache, directory: `${dataDirectory}/topics`, topic })
    const drawn = kinds.filter(() => scheduler.oneIn(2))
    const nextTold = () => scheduler.sleep(scheduler.between(0, 100), 'told')
    const harm = { scheduler, machine, network, rot, kinds: ['kill' as const, ...drawn] }
    this.#nemesis = new Nemesis({ ...harm, onClientDeath: () => undefined, nextTold })
  }

  async main(): Promise<void> {
    const scheduler = this.#scheduler
    await this.#machine.start()
    const first = await this.#clients.connect('first')
    const settings = {
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0',
      'segment.bytes': '1048576',
      'segment.ms': scheduler.random.pick(['100', '300']),
    }
    await this.#clients.insist(() => first.admin.createTopic(topic, { settings }), 'topicExists')
    const work = Array.from({ length: clientCount }, (_, place) => this.#client(`client-${place}`))
    const harm = this.#nemesis.run()
    const supervision = this.#nemesis.supervise()
    await scheduler.sleep(this.#durationMs, 'phase')
    await this.#nemesis.heal()
    await Promise.all([harm, supervision])
    await this.#nemesis.heal()
    this.#isOver = true
    await this.#withDeadline('clients', Promise.all(work))
    await this.#judge(first)
    this.#machine.cutPower()
    await this.#machine.start()
    await this.#judge(first)
    await this.#withDeadline('close', first.close())
    await this.#withDeadline('stop', this.#machine.stop())
    for (const damage of await this.#machine.verify()) this.findings.push(`verify: ${JSON.stringify(damage)}`)
  }

  result(): SimulationResult {
    const { starts, reports, bugs } = this.#machine
    return {
      ...emptyResult(this.#seed),
      ...scheduledResult(this.#scheduler),
      ...this.#counts,
      refused: this.#clients.refused,
      faults: this.#nemesis.counts,
      reports,
      starts,
      findings: [...this.findings, ...bugs],
    }
  }

  /** One call after the other until all is over; what a client must expect is no finding. */
  async #client(who: string): Promise<void> {
    const scheduler = this.#scheduler
    const playhead = await this.#clients.connect(who)
    while (!this.#isOver) {
      await scheduler.sleep(scheduler.between(0, 20), who)
      const name = scheduler.random.pick(streams)
      const stream = playhead.topic(topic).stream(name)
      const act = scheduler.random.below(4) === 0 ? this.#read(name, stream) : this.#append(name, stream)
      await act.catch((error: unknown) => this.#clients.expect(error))
    }
    await playhead.close()
  }

  async #append(name: string, stream: EventStream): Promise<void> {
    const { random } = this.#scheduler
    const value = `${this.#values++}`
    this.#counts.appends++
    const data = { value, filler: 'x'.repeat(random.pick([10, 10_000, 60_000])) }
    const { version } = await stream.append({ type: 'Happened', data })
    this.#counts.acknowledged++
    this.#saw(name, version, value)
    const known = this.#known.get(name)!
    known.lastVersion = Math.max(known.lastVersion, version)
  }

  /** What was answered before it is asked for is there: the newest event, or a newer one. */
  async #read(name: string, stream: EventStream): Promise<{ readonly newest: number; readonly count: number }> {
    const { lastVersion } = this.#known.get(name)!
    const backwards = this.#scheduler.oneIn(2)
    this.#counts.reads++
    let [newest, count] = [-1, 0]
    for await (const { version, data } of stream.read({ backwards })) {
      this.#saw(name, version ?? -1, (data as { readonly value: string }).value)
      newest = Math.max(newest, version ?? -1)
      count++
    }
    if (newest < lastVersion)
      this.findings.push(`${name}: version ${newest} is the newest, ${lastVersion} was answered`)
    return { newest, count }
  }

  #saw(name: string, version: number, value: string): void {
    const { events, versions } = this.#known.get(name)!
    const [event, known] = [events.get(version), versions.get(value)]
    if (event !== undefined && event !== value)
      this.findings.push(`${name}: version ${version} is event ${value}, and was ${event}`)
    if (known !== undefined && known !== version)
      this.findings.push(`${name}: event ${value} has version ${version}, and had ${known}`)
    events.set(version, value)
    versions.set(value, version)
  }

  async #judge(playhead: Playhead): Promise<void> {
    let removed = 0
    for (const name of streams) {
      const stream = playhead.topic(topic).stream(name)
      const { newest, count } = await this.#withDeadline(
        'read',
        this.#clients.insist(() => this.#read(name, stream)),
      )
      removed += this.#known.get(name)!.events.size - count
      const { lastVersion } = await this.#withDeadline(
        'info',
        this.#clients.insist(() => stream.info()),
      )
      if (lastVersion !== newest) this.findings.push(`${name}: last version ${lastVersion}, ${newest} is the newest`)
    }
    this.#onRemoved(removed)
  }

  #withDeadline<T>(what: string, promise: Promise<T>): Promise<T> {
    return withDeadline(this.#scheduler, livenessMsMax, what, promise)
  }
}

function noneKnown(): Known {
  return { events: new Map(), versions: new Map(), lastVersion: -1 }
}
