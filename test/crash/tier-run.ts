/**
 * TierRun: `playhead serve --tier` killed again and again, with SIGKILL: held at one of its file-changing calls on the data directory or on the tier, or at
 * any moment. After each kill every object that a manifest names is read and compared; after each start everything acknowledged is read; at the end
 * nobody's objects go, and a broker that has nothing but the tier serves the same. Neighbours: tier-load.ts writes and reads, run.ts and the short tests.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import type { ObjectStore } from '../../storage/tier/object-store.ts'
import { verifyTier } from '../../storage/tier/tier-check.ts'
import { openObjectStore } from '../../storage/tier/tier-location.ts'
import { verify } from '../../storage/verify.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { until } from '../storage/store-under-test.ts'
import { TieredStore } from '../storage/tier/tiered-store.ts'
import { faults } from './faults.ts'
import { freePort, Supervisor } from './supervisor.ts'
import { callsOf } from './system-calls.ts'
import type { Injection } from './system-calls.ts'
import type { Tally } from './tally.ts'
import { TierLoad } from './tier-load.ts'

/** How long a broker whose call does not come lives. */
const lifeMsMax = 2_500
/** Events in each topic and life: two segments are filled. */
const eventsPerLife = 24
/** How many of these a life makes at most, about: a point behind the last is a kill at any moment. */
const callsPerLife = { rename: 40, unlink: 24, link: 6, pwrite64: 70, fdatasync: 40, fsync: 60 } as const
const hourMs = 3_600_000
const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }

export interface TierRunOptions {
  readonly seed: number
  /** Lives, each of which ends with a kill. */
  readonly rounds: number
  /** Another tier than a directory beside the data. */
  readonly location?: string
}

export async function tierRun(options: TierRunOptions, tally: Tally): Promise<void> {
  const { seed, rounds } = options
  const temporary = await mkdtemp(join(tmpdir(), 'playhead-tier-'))
  tally.began()
  try {
    const run = new TierRun(temporary, options)
    await run.run(await freePort())
    for (const finding of run.findings) tally.found(`${faults.killWithTier}, seed ${seed}: ${finding}`)
    tally.survived(faults.killWithTier, run.operations, run.kills)
    const steps = [...run.steps].map(([step, times]) => `${step} ${times}`).join(', ')
    console.log(
      `${faults.killWithTier}: ${rounds} lives, ${run.kills} kills (${steps}), ${run.operations} operations (seed ${seed})`,
    )
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    tally.found(`${faults.killWithTier}, seed ${seed}: ${text}`)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

class TierRun {
  readonly findings: string[] = []
  /** Kills by what was under way. */
  readonly steps = new Map<string, number>()
  kills = 0
  operations = 0
  readonly #temporary: string
  readonly #data: string
  readonly #location: string
  readonly #rounds: number
  readonly #random: SeededRandom

  constructor(temporary: string, { seed, rounds, location }: TierRunOptions) {
    this.#temporary = temporary
    this.#data = join(temporary, 'data')
    this.#location = location ?? `file://${temporary}/tier`
    this.#rounds = rounds
    this.#random = new SeededRandom(seed)
  }

  async run(port: number): Promise<void> {
    const flags = ['--tier', this.#location, '--tier-upload-interval-ms', '1000', '--clean-interval-ms', '100']
    await using supervisor = new Supervisor({ directory: this.#data, port, flags })
    await Promise.race([this.#play(supervisor, port), supervisor.failed])
    await this.#judgeFiles()
  }

  async #play(supervisor: Supervisor, port: number): Promise<void> {
    await supervisor.start()
    const load = await TierLoad.open(`127.0.0.1:${port}`)
    await load.createTopics()
    await load.append(eventsPerLife)
    await supervisor.kill()
    for (let round = 0; round < this.#rounds; round++) await this.#life(supervisor, load, round)
    await supervisor.start()
    await load.check('at the end')
    const { code } = await supervisor.stop()
    if (code !== 0) this.findings.push(`the last stop ended with ${code}`)
    await this.#restored(supervisor, load)
    this.operations = load.operations
    this.findings.push(...load.findings)
    await load.close()
  }

  /** From a broker that was killed to the next such one. */
  async #life(supervisor: Supervisor, load: TierLoad, round: number): Promise<void> {
    const output = join(this.#temporary, `strace-${round}`)
    const injection = this.#injection()
    const ends = supervisor.ends.length
    await supervisor.start({ output, injection })
    const appended = load.append(eventsPerLife)
    const lifeMs = lifeMsMax - 800 + this.#random.below(800)
    for (let waitedMs = 0; waitedMs < lifeMs && supervisor.ends.length === ends; waitedMs += 20) await sleep(20)
    const isHeld = supervisor.ends.length > ends
    const step = isHeld ? await this.#stepOf(output, supervisor.tracedId) : 'any moment'
    const note = `life ${round}, ${injection.call} ${injection.when} ${injection.action}, killed at: ${step}`
    // One whose call was held has a successor by now, which is killed at any moment.
    await supervisor.kill()
    this.#killed(step)
    if (isHeld) this.#killed('any moment')
    await this.#objectsAreWhole(note)
    await supervisor.start()
    await appended
    await load.check(note)
    await supervisor.kill()
    this.#killed('any moment')
    for (const { signal, errors } of supervisor.ends.splice(0))
      if (signal !== 'SIGKILL') this.findings.push(`${note}: a broker ended by itself: ${errors}`)
  }

  #injection(): Injection {
    const calls = Object.keys(callsPerLife) as (keyof typeof callsPerLife)[]
    const call = calls[this.#random.below(calls.length)]!
    const when = 1 + this.#random.below(callsPerLife[call])
    return { call, when: `${when}`, action: this.#random.below(2) === 0 ? 'before' : 'after' }
  }

  #killed(step: string): void {
    this.kills++
    this.steps.set(step, (this.steps.get(step) ?? 0) + 1)
  }

  async #stepOf(output: string, process: number): Promise<string> {
    const last = (await callsOf(output, process, this.#temporary)).at(-1)
    return last === undefined ? 'another file' : stepOfCall(last.call, last.file)
  }

  async #objectsAreWhole(note: string): Promise<void> {
    const store = await openObjectStore(this.#location, foundation)
    const scratchDirectory = await mkdtemp(join(this.#temporary, 'scratch-'))
    const { damage } = await verifyTier({ ...foundation, store, scratchDirectory }, () => undefined)
    await store.close()
    for (const found of damage) this.findings.push(`${note}: ${JSON.stringify(found)}`)
  }

  /** What the last stop left: sound files, and in the tier nothing that nobody names once the grace is over. */
  async #judgeFiles(): Promise<void> {
    const directory = join(this.#temporary, 'restored')
    const found = await verify({ directory, ...foundation })
    for (const damage of found.damage) this.findings.push(`verify: ${JSON.stringify(damage)}`)
    const objects = await openObjectStore(this.#location, foundation)
    {
      // Searched by the broker itself after each look at what there is to send: without a grace, whoever else did could take an upload for nobody's.
      const tier = { orphanGraceMs: -1, orphanSearchMs: 0, uploadIntervalMs: hourMs }
      await using store = await TieredStore.open(directory, this.#location, { tier })
      const wanted = () => store.tier.stats.segments * 2
      const isClean = async () => (await objectsOfSegments(objects)) === wanted()
      await until(isClean).catch(async () => {
        this.findings.push(
          `found ${await objectsOfSegments(objects)} objects of segments, wanted ${wanted()}: two each`,
        )
      })
      console.log(
        `${faults.killWithTier}: ${store.tier.stats.orphans} orphans were removed, ${wanted() / 2} segments stay`,
      )
    }
    await objects.close()
    await this.#objectsAreWhole('after the orphans went')
  }

  /** The machine is lost: what the stop has sent is all there was. */
  async #restored(supervisor: Supervisor, load: TierLoad): Promise<void> {
    const directory = join(this.#temporary, 'restored')
    const { code, stderr } = await runPlayhead(['tier', 'restore', '--from', this.#location, '--data', directory])
    if (code !== 0) this.findings.push(`restore ended with ${code}: ${stderr}`)
    await rm(this.#data, { recursive: true })
    await supervisor.moveTo(directory)
    await load.check('restored from the tier')
    await load.append(1)
    await load.check('restored from the tier, and written to')
    load.checkCleaning()
    await supervisor.stop()
  }
}

async function objectsOfSegments(store: ObjectStore): Promise<number> {
  let count = 0
  for await (const { key } of store.list('logs/')) if (/\/data\//.test(key)) count++
  return count
}

/** What a kill at this call interrupts, by the file: of one that is moved or linked, where it comes from. */
function stepOfCall(call: string, file: string): string {
  if (file.startsWith('tier/unfinished')) return call === 'link' || call === 'unlink' ? 'manifest' : 'upload'
  if (/^tier\/.*\/data/.test(file)) return 'upload'
  if (/^tier\/|^data\/tier\//.test(file)) return 'manifest'
  if (/\.(log|idx)\.tmp$/.test(file))
    return call === 'rename' ? 'swap of a rewritten or sealed file' : 'rewriting or sealing'
  if (!file.startsWith('data/topics/')) return 'another file'
  if (call === 'unlink') return 'local delete'
  return file.endsWith('.log') ? 'append' : 'facts of a log'
}
