/**
 * CrashRun: the scenario once, against a broker that is harmed at one point, and the verdict: what the history checker finds in what the client
 * saw and in what is there at the end, `playhead verify`, how each broker ended. Neighbours: Scenario, Supervisor; crash-points.ts says where.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { verify } from '../../storage/verify.ts'
import { Recorder } from '../sim/recorder.ts'
import { noExcuse } from '../sim/rot.ts'
import { Session } from '../sim/session.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { lookMsMax, RealTime, realNetwork } from './real-time.ts'
import { Scenario, ScriptedWorkload, scenarioFlags } from './scenario.ts'
import { freePort, Supervisor } from './supervisor.ts'
import type { UnplannedEnd } from './supervisor.ts'
import { callsOf } from './system-calls.ts'
import type { Injection, SystemCall } from './system-calls.ts'

/** Which broker is traced: the one that makes the directory, or the one that finds it as a kill has left it. */
export type Part = 'first' | 'second'

export interface Harm extends Omit<Injection, 'file'> {
  readonly part: Part
  /** Below the data directory. */
  readonly file?: string
}

export interface CrashResult {
  readonly findings: string[]
  /** Of the traced broker, if it did not end as it was asked to. */
  readonly ends: readonly UnplannedEnd[]
  /** That the traced broker has made; with an injection those of one kind, the last of them where it ended. */
  readonly calls: readonly SystemCall[]
  readonly operations: number
}

/** Without harm, everything the broker does is written down. */
export async function crashRun(part: Part, harm?: Harm): Promise<CrashResult> {
  const temporary = await mkdtemp(join(tmpdir(), 'playhead-crash-'))
  try {
    return await new CrashRun(temporary, part, harm).run(await freePort())
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

class CrashRun {
  readonly #directory: string
  readonly #output: string
  readonly #part: Part
  readonly #harm: Harm | undefined
  readonly #time = new RealTime(new SeededRandom(1))
  readonly #recorder = new Recorder(this.#time)

  constructor(temporary: string, part: Part, harm: Harm | undefined) {
    this.#directory = join(temporary, 'data')
    this.#output = join(temporary, 'strace')
    this.#part = part
    this.#harm = harm
  }

  async run(port: number): Promise<CrashResult> {
    await using supervisor = new Supervisor({ directory: this.#directory, port, flags: scenarioFlags })
    const findings = await Promise.race([this.#play(supervisor, port), supervisor.failed])
    findings.push(...(await this.#damage()), ...(await this.#leftBehind()))
    const { anomalies, operations } = this.#recorder.finish()
    for (const { kind, message } of anomalies) findings.push(`${kind}: ${message}`)
    const calls = await callsOf(this.#output, supervisor.tracedId, this.#directory)
    return { findings, ends: supervisor.ends, calls, operations }
  }

  /** As `playhead verify` does it. */
  async #damage(): Promise<string[]> {
    const directory = this.#directory
    const scratchDirectory = await mkdtemp(`${directory}-scratch-`)
    const { damage } = await verify({ directory, scratchDirectory, fileSystem: nodeFileSystem, clock: systemClock })
    return damage.map((found) => `verify: ${JSON.stringify(found)}`)
  }

  /** Of files that were being made. An empty lock tells nobody who is making it, so it stays. */
  async #leftBehind(): Promise<string[]> {
    const findings: string[] = []
    for (const name of await readdir(this.#directory, { recursive: true })) {
      if (!/\.tmp$|\.new|\.deleted/.test(name)) continue
      const { size } = await stat(join(this.#directory, name))
      if (name.startsWith('lock.new') && size === 0) continue
      findings.push(`found ${name}, wanted nothing left of a file that was being made`)
    }
    return findings
  }

  /** A broker that was harmed has been started again already: that restart is as good as one that is made here. */
  async #play(supervisor: Supervisor, port: number): Promise<string[]> {
    await this.#start(supervisor, 'first')
    const scenario = await Scenario.open(`127.0.0.1:${port}`, this.#recorder, this.#harm?.action === 'error=EIO')
    await scenario.first()
    if (supervisor.ends.length === 0) {
      await supervisor.kill()
      await this.#start(supervisor, 'second')
    }
    await scenario.second()
    if (supervisor.ends.length === 0) {
      await supervisor.stop()
      await supervisor.start()
    }
    await scenario.lookAtTheRest()
    await scenario.close()
    const findings = [...scenario.findings]
    await this.#look(port, findings)
    await supervisor.stop()
    return findings
  }

  /** Everything there is, into the history. */
  async #look(port: number, findings: string[]): Promise<void> {
    const session = await Session.open(
      {
        scheduler: this.#time,
        network: realNetwork(port),
        recorder: this.#recorder,
        rot: noExcuse,
        workload: new ScriptedWorkload(this.#time),
        onFinding: (finding) => findings.push(finding),
        timeoutMs: lookMsMax,
      },
      'look',
    )
    for (const dump of await session.contents()) this.#recorder.dump(dump)
    await session.close()
  }

  async #start(supervisor: Supervisor, part: Part): Promise<void> {
    if (part !== this.#part) return supervisor.start()
    const harm = this.#harm
    const injection = harm && { ...harm, ...(harm.file !== undefined && { file: join(this.#directory, harm.file) }) }
    await supervisor.start({ output: this.#output, ...(injection && { injection }) })
  }
}
