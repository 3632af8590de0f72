/**
 * Nemesis run: the life of one real cluster, round by round. In each round, a topic of its own: clients append and read while the leader is killed, and then
 * while a mix of harm is done that the round's seed has drawn; everything heals; every client gets an append and a read through, and the cluster comes to
 * rest with nobody's help. All there is is read, the power of all is cut, it is read again, and the history checker judges what clients saw; replicas are
 * compared byte for byte. At the end all topics are read once more, and every disk is verified.
 * Neighbours: run.ts and nemesis.test.ts call it; test/sim has the sessions, test/history the checker.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, rmSync } from 'node:fs'
import { cp, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isPlayheadError } from '../../client/index.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { RealTime } from '../crash/real-time.ts'
import { clusterCodes } from '../sim/answers.ts'
import { Recorder } from '../sim/recorder.ts'
import { noExcuse } from '../sim/rot.ts'
import { SessionPlaces } from '../sim/session-places.ts'
import { Session } from '../sim/session.ts'
import type { SessionOptions } from '../sim/session.ts'
import { Workload } from '../sim/workload.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { ClientNetwork } from './client-network.ts'
import { comeToRest } from './cluster-rest.ts'
import { brokers, Fleet } from './fleet.ts'
import { Nemesis } from './nemesis.ts'
import type { NemesisFault } from './nemesis.ts'
import { Pulse } from './pulse.ts'
import { compareReplicaFiles } from './replica-files.ts'

export interface LifeOptions {
  /** Of its first round; the next one has the next. */
  readonly seed: number
  readonly rounds: number
  /** No round begins after it, on the clock of `performance.now`. */
  readonly untilMs?: number
  /** Of the part of a round with faults. */
  readonly faultMs: number
  readonly kinds?: readonly NemesisFault[] | undefined
  readonly onRound?: (round: RoundResult) => void
}

export interface RoundResult {
  readonly seed: number
  readonly kinds: readonly NemesisFault[]
  readonly faults: Readonly<Partial<Record<NemesisFault, number>>>
  readonly appends: number
  readonly acknowledged: number
  readonly refused: number
  readonly reads: number
  /** All that the checker has judged. */
  readonly operations: number
  /** Without an acknowledgement when the leader was killed, nothing else being wrong. */
  readonly failoverMs: number
  /** From healing to rest. */
  readonly restMs: number
}

export interface LifeResult {
  readonly seed: number
  readonly rounds: readonly RoundResult[]
  readonly findings: readonly string[]
  /** Kept when there are findings: logs, and the data directories. */
  readonly directory: string
}

/** What is not done for so long after everything healed never will be. */
const livenessMsMax = 90_000
/** Of one call of a client that looks at all there is. */
const lookMsMax = 60_000
/** Acknowledged before the leader is killed, and after it. */
const beatsAround = 40
const differPollMs = 1_000
const segmentMsMin = 1_000

export async function nemesisLife(options: LifeOptions): Promise<LifeResult> {
  const directory = await mkdtemp(join(tmpdir(), 'playhead-nemesis-'))
  const remove = () => rmSync(directory, { recursive: true, force: true })
  process.once('exit', remove)
  const life = new Life(options, directory)
  await life.run()
  process.off('exit', remove)
  if (life.findings.length === 0) remove()
  return { seed: options.seed, rounds: life.rounds, findings: life.findings, directory }
}

class Life {
  readonly findings: string[] = []
  readonly rounds: RoundResult[] = []
  readonly #options: LifeOptions
  readonly #directory: string
  readonly #begun: Round[] = []
  /** Of rounds that are over: what there was. */
  readonly #kept: { readonly round: Round; readonly digest: string }[] = []

  constructor(options: LifeOptions, directory: string) {
    this.#options = options
    this.#directory = directory
  }

  async run(): Promise<void> {
    const { seed, rounds, untilMs = Infinity, onRound } = this.#options
    let at = seed
    const onFinding = (finding: string) => this.#found(`seed ${at}: ${finding}`)
    const note = (line: string) => this.#note(line)
    const directory = this.#directory
    await using fleet = await Fleet.start({ directory, onFinding })
    try {
      for (let place = 0; place < rounds && performance.now() < untilMs && this.findings.length === 0; place++) {
        at = seed + place
        note(`round ${place}, seed ${at}`)
        const round = new Round({ ...this.#options, seed: at, fleet, note, onFinding })
        this.#begun.push(round)
        const result = await round.run()
        this.rounds.push(result)
        this.#kept.push({ round, digest: round.digest })
        onRound?.(result)
      }
      if (
        this.rounds.some(({ faults }) => faults.slow) &&
        fleet.machines.every(({ slowDisk }) => slowDisk.waited === 0)
      )
        this.#found('slow: found no write that waited, wanted some')
      await this.#lookBack()
      await this.#verify(fleet)
    } catch (error) {
      for (const round of this.#begun) round.giveUp()
      onFinding(error instanceof Error ? (error.stack ?? error.message) : String(error))
    }
    if (this.findings.length > 0) await this.#keepDisks(fleet)
  }

  async #lookBack(): Promise<void> {
    for (const { round, digest } of this.#kept)
      if (digestOf(await round.contents('at the end')) !== digest)
        this.#found(`${round.topic}: at the end not what it was after its round`)
  }

  /** All stopped, every byte. */
  async #verify(fleet: Fleet): Promise<void> {
    for (const machine of fleet.machines) machine.isDown = true
    await Promise.all(fleet.machines.map((machine) => machine.stop()))
    for (const { broker, dataDirectory } of fleet.machines) {
      const { code, stderr } = await runPlayhead(['verify', '--data', dataDirectory])
      if (code !== 0) this.#found(`broker ${broker}: verify ended with ${code}: ${stderr}`)
    }
  }

  async #keepDisks(fleet: Fleet): Promise<void> {
    for (const machine of fleet.machines) {
      machine.isDown = true
      await machine.kill()
      const target = join(this.#directory, `broker-${machine.broker}`)
      await cp(machine.dataDirectory, target, { recursive: true }).catch((error: unknown) => this.#note(String(error)))
    }
  }

  #found(finding: string): void {
    this.#note(`FOUND ${finding}`)
    this.findings.push(finding)
  }

  #note(line: string): void {
    appendFileSync(join(this.#directory, 'nemesis.log'), `${new Date().toISOString()} ${line}\n`)
  }
}

interface RoundOptions extends LifeOptions {
  readonly fleet: Fleet
  readonly note: (line: string) => void
  readonly onFinding: (finding: string) => void
}

class Round {
  readonly topic: string
  /** Of all that was in its topic in the end. */
  digest = ''
  readonly #options: RoundOptions
  readonly #time: RealTime
  readonly #network = new ClientNetwork()
  readonly #workload: Workload
  readonly #nemesis: Nemesis
  readonly #places: SessionPlaces
  #recorder: Recorder
  #pulse: Pulse | undefined

  constructor(options: RoundOptions) {
    const { seed, fleet, kinds, note, onFinding } = options
    this.#options = options
    this.topic = `carts-${seed}`
    this.#time = new RealTime(new SeededRandom(seed))
    this.#recorder = new Recorder(this.#time)
    const { topic } = this
    this.#workload = new Workload(this.#time, { isCluster: true, topic, segmentMsMin })
    // Of its own, so that the same seed gives the same harm, whatever clients do meanwhile.
    const scheduler = new RealTime(new SeededRandom(seed + 0x5eed))
    const onClientDeath = () => this.#places.killOne()
    const nextTold: Recorder['nextTold'] = (what) => this.#recorder.nextTold(what)
    this.#nemesis = new Nemesis({ scheduler, fleet, kinds, onClientDeath, nextTold, note, onFinding })
    this.#places = new SessionPlaces({
      scheduler: this.#time,
      workload: this.#workload,
      open: (name) => Session.open(this.#session(), name),
    })
  }

  async run(): Promise<RoundResult> {
    const { seed, fleet, faultMs, note, onFinding } = this.#options
    const { addresses } = fleet
    await this.#begin()
    const pulse = await Pulse.start({ addresses, recorder: this.#recorder, workload: this.#workload, onFinding })
    this.#pulse = pulse
    const sessions = this.#places.run()
    await within(livenessMsMax, 'appends before any harm', pulse.untilMore(beatsAround))
    const killedAtMs = await this.#nemesis.killLeader(this.topic, pulse.partition)
    await within(livenessMsMax, 'appends after the leader was killed', pulse.untilMore(beatsAround))
    const failoverMs = pulse.gapAroundMs(killedAtMs) ?? Infinity
    note(`failover: ${Math.round(failoverMs)} ms`)
    await this.#nemesis.run(faultMs)
    const healedAtMs = performance.now()
    this.#places.end()
    await within(livenessMsMax, 'an append and a read of every client after everything healed', sessions)
    note('every client has appended and read')
    await within(livenessMsMax, 'an append after everything healed', pulse.end())
    note('no more appends')
    await this.#rest()
    const restMs = performance.now() - healedAtMs
    note(`at rest after ${Math.round(restMs)} ms`)
    const { appends, acknowledged, refused, reads } = this.#recorder
    const operations = await this.#judge()
    for (const finding of fleet.restless()) onFinding(finding)
    const { kinds, counts: faults } = this.#nemesis
    return { seed, kinds, faults, appends, acknowledged, refused, reads, operations, failoverMs, restMs }
  }

  /** Nobody waits for anything any more. */
  giveUp(): void {
    this.#time.stop()
    this.#network.close()
    this.#pulse?.giveUp()
  }

  /** Everything in the topic. */
  async contents(when: string): Promise<Awaited<ReturnType<Session['contents']>>> {
    const session = await within(
      livenessMsMax,
      `a connection ${when}`,
      Session.open({ ...this.#session(), timeoutMs: lookMsMax }, `look ${when}`),
    )
    for (const until = performance.now() + livenessMsMax; ; await sleep(100)) {
      try {
        const contents = await session.contents()
        await session.close()
        return contents
      } catch (error) {
        if (!isPlayheadError(error) || !error.retriable || performance.now() > until) throw error
      }
    }
  }

  /** All brokers are there, and the topic. */
  async #begin(): Promise<void> {
    await this.#rest('before anything was done')
    const first = await Session.open(this.#session(), 'first')
    await first.createTopic()
    await first.close()
  }

  /** As it is, and once more after the power of all was cut. */
  async #judge(): Promise<number> {
    const { onFinding } = this.#options
    const before = await this.contents('before the power cut')
    await this.#nemesis.cutAllPower()
    await this.#rest('after the power of all was cut')
    const after = await this.contents('after the power cut')
    this.digest = digestOf(after)
    if (digestOf(before) !== this.digest) onFinding(`${this.topic}: after a power cut of all not what it was before`)
    for (const dump of after) this.#recorder.dump(dump)
    const { anomalies, operations } = this.#recorder.finish()
    for (const { kind, message } of anomalies) onFinding(`${kind}: ${message}`)
    // What comes after the verdict is looked at, and judged by what it gives alone.
    this.#recorder = new Recorder(this.#time)
    return operations
  }

  async #rest(when = 'after everything healed'): Promise<void> {
    const { fleet, note, onFinding } = this.#options
    const wrong = await comeToRest(fleet, livenessMsMax, note)
    if (wrong !== undefined) throw new Error(`${when}: ${wrong}`)
    for (const until = performance.now() + livenessMsMax; ; await sleep(differPollMs)) {
      // A change of leaders under way may write to one before the others.
      const differing = await compareReplicaFiles(await fleet.state(), fleet.machines)
      if (differing.length === 0) return
      if (performance.now() < until) continue
      for (const finding of differing) onFinding(`${when}: ${finding}`)
      return
    }
  }

  #session(): SessionOptions {
    const { fleet, onFinding } = this.#options
    const isDark = () => fleet.machines.some((machine) => machine.isDark)
    return {
      scheduler: this.#time,
      network: this.#network,
      recorder: this.#recorder,
      workload: this.#workload,
      rot: { ...noExcuse, explains: isDark, explainsReport: isDark },
      onFinding,
      addresses: fleet.addresses,
      moreCodes: clusterCodes,
      isLinearizable: false,
      replicationFactor: brokers.length,
    }
  }
}

function digestOf(contents: unknown): string {
  return createHash('sha256').update(JSON.stringify(contents)).digest('hex')
}

async function within<T>(msMax: number, what: string, promise: Promise<T>): Promise<T> {
  const late = new AbortController()
  const tooLong = sleep(msMax, undefined, { signal: late.signal }).then(() => {
    throw new Error(`found no ${what} within ${msMax / 1000} s`)
  })
  tooLong.catch(() => undefined)
  return await Promise.race([promise, tooLong]).finally(() => late.abort())
}
