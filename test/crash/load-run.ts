/**
 * LoadRun: the sessions of the simulator, with their tasks drawn from a seed, against a real broker that is ended again and again; then everything
 * is read, before and after one more restart, and verified offline. Neighbours: test/sim/session.ts does the work, Supervisor restarts.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runPlayhead } from '../cli/run-playhead.ts'
import { Recorder } from '../sim/recorder.ts'
import { noExcuse } from '../sim/rot.ts'
import { Session } from '../sim/session.ts'
import type { SessionOptions } from '../sim/session.ts'
import { Workload } from '../sim/workload.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { faults } from './faults.ts'
import { lookMsMax, RealTime, realNetwork } from './real-time.ts'
import { freePort, Supervisor } from './supervisor.ts'
import type { Tally } from './tally.ts'

/** Up to so long nothing is done to a broker that serves. */
const lifeMsMax = 400
const flags = ['--checkpoint-interval-ms', '100']

export interface LoadOptions {
  readonly seed: number
  /** So often it is done. */
  readonly rounds: number
  /** Where the broker's data directory is made; the system's place for such by default. */
  readonly parent?: string
  /** What is done to the broker, until one serves again; kill -9 and the next start by default. */
  readonly harm?: (target: Target) => Promise<void>
  readonly fault?: string
  /** Added to that of the broker. */
  readonly environment?: Readonly<Record<string, string>>
  /** How often it was done in the end, if not once a round. */
  readonly times?: () => Promise<number>
}

export interface Target {
  readonly supervisor: Supervisor
  readonly port: number
  /** Reads in every way, recorded as everything else. False if a read was refused. */
  readonly read: () => Promise<boolean>
  /** Meanwhile nothing can be read from the disk, which looks like damage to a broker, and it says so. What is acknowledged still counts. */
  readonly inTheDark: (work: () => Promise<void>) => Promise<void>
}

async function killAndStart({ supervisor }: Target): Promise<void> {
  await supervisor.kill()
  await supervisor.start()
}

export async function loadRun(options: LoadOptions, tally: Tally): Promise<void> {
  const { seed, rounds, parent = tmpdir(), fault = faults.killUnderLoad } = options
  const { times = () => Promise.resolve(rounds) } = options
  const temporary = await mkdtemp(join(parent, 'playhead-load-'))
  tally.began()
  try {
    const run = new LoadRun(join(temporary, 'data'), options)
    const port = await freePort()
    const { operations, acknowledged } = await run.run(port)
    for (const finding of run.findings) tally.found(`${fault}, seed ${seed}: ${finding}`)
    const struck = await times()
    tally.survived(fault, operations, struck)
    console.log(`${fault}: ${struck} times, ${operations} operations, ${acknowledged} acknowledged (seed ${seed})`)
  } catch (error) {
    tally.found(`${fault}, seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

class LoadRun {
  readonly findings: string[] = []
  readonly #directory: string
  readonly #options: LoadOptions
  readonly #time: RealTime
  readonly #recorder: Recorder
  readonly #workload: Workload
  #isOver = false
  #isDark = false

  constructor(directory: string, options: LoadOptions) {
    this.#directory = directory
    this.#options = options
    this.#time = new RealTime(new SeededRandom(options.seed))
    this.#recorder = new Recorder(this.#time)
    this.#workload = new Workload(this.#time)
  }

  async run(port: number): Promise<{ operations: number; acknowledged: number }> {
    const { environment = {} } = this.#options
    await using supervisor = new Supervisor({ directory: this.#directory, port, flags, environment })
    await Promise.race([this.#play(supervisor, port), supervisor.failed])
    const { code, stderr } = await runPlayhead(['verify', '--data', this.#directory])
    if (code !== 0) this.findings.push(`verify ended with ${code}: ${stderr}`)
    const { anomalies, operations, acknowledged } = this.#recorder.finish()
    for (const { kind, message } of anomalies) this.findings.push(`${kind}: ${message}`)
    return { operations, acknowledged }
  }

  async #play(supervisor: Supervisor, port: number): Promise<void> {
    const { rounds, harm = killAndStart } = this.#options
    await supervisor.start()
    const first = await Session.open(this.#session(port), 'first')
    await first.createTopic()
    const inTheDark: Target['inTheDark'] = async (work) => {
      this.#isDark = true
      await work()
      this.#isDark = false
    }
    const target: Target = { supervisor, port, read: () => readAll(first), inTheDark }
    const sessions = Array.from({ length: this.#workload.sessions }, (_, place) => this.#live(port, `c${place}`))
    for (let round = 0; round < rounds; round++) {
      await sleep(this.#time.between(0, lifeMsMax))
      await harm(target)
    }
    this.#isOver = true
    await Promise.all([...sessions, first.close()])
    const before = await this.#contents(port)
    await killAndStart(target)
    const after = await this.#contents(port)
    for (const dump of after) this.#recorder.dump(dump)
    if (JSON.stringify(before) !== JSON.stringify(after))
      this.findings.push('the contents after a restart are not those before it')
    const { code } = await supervisor.stop()
    if (code !== 0) this.findings.push(`the last stop ended with ${code}`)
  }

  #session(port: number): SessionOptions {
    return {
      scheduler: this.#time,
      network: realNetwork(port),
      recorder: this.#recorder,
      rot: noExcuse,
      workload: this.#workload,
      onFinding: (finding) => {
        if (!this.#isDark) this.findings.push(finding)
      },
    }
  }

  /** One task after the other; at the end, once everything is well, an append and a read that must succeed. */
  async #live(port: number, name: string): Promise<void> {
    const session = await Session.open(this.#session(port), name)
    while (!this.#isOver) {
      await this.#time.sleep(this.#time.between(0, this.#workload.pauseMs))
      await session.run(this.#workload.task())
    }
    for (const task of ['append', 'replay', 'tail'] as const) while (!(await session.run(task))) await sleep(20)
    await session.close()
  }

  async #contents(port: number): ReturnType<Session['contents']> {
    const session = await Session.open({ ...this.#session(port), timeoutMs: lookMsMax }, 'look')
    const contents = await session.contents()
    await session.close()
    return contents
  }
}

async function readAll(session: Session): Promise<boolean> {
  for (const task of ['replay', 'readStream', 'tail'] as const) if (!(await session.run(task))) return false
  return true
}
