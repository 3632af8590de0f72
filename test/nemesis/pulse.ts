/**
 * Pulse: a client that appends one event after the other to one stream, each behind the one before, into the history like all others. How long nothing was
 * acknowledged around a moment is what a failover costs users. Neighbours: nemesis-run.ts has one beside the sessions.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { clusterCodes, outcomeOf } from '../sim/answers.ts'
import type { Recorder } from '../sim/recorder.ts'
import type { Workload } from '../sim/workload.ts'

const name = 'pulse'
const timeoutMs = 30_000
const pauseMs = 20
const expected = new Set(['unavailable', 'timedOut', 'wrongExpectedVersion', 'overloaded', 'stopping', 'closed'])

export interface PulseOptions {
  readonly addresses: readonly string[]
  readonly recorder: Recorder
  readonly workload: Workload
  readonly onFinding: (finding: string) => void
}

export class Pulse {
  readonly partition: number
  readonly #options: PulseOptions
  readonly #playhead: Playhead
  /** When each append was acknowledged. */
  readonly #toldAtMs: number[] = []
  readonly #running: Promise<void>
  #isOver = false
  #sequence = 0
  /** Undefined: not known. */
  #version: number | undefined = -1

  private constructor(options: PulseOptions, playhead: Playhead) {
    this.#options = options
    this.#playhead = playhead
    this.partition = options.workload.partitionOf(name)
    this.#running = this.#run()
  }

  static async start(options: PulseOptions): Promise<Pulse> {
    return new Pulse(options, await connect(options.addresses, { clientName: name, timeoutMs }))
  }

  get count(): number {
    return this.#toldAtMs.length
  }

  /** Resolves once so many more were acknowledged. */
  async untilMore(count: number): Promise<void> {
    const wanted = this.count + count
    while (this.count < wanted && !this.#isOver) await sleep(pauseMs)
  }

  /** The time around a moment in which nothing was acknowledged; undefined when nothing was afterwards. */
  gapAroundMs(atMs: number): number | undefined {
    const next = this.#toldAtMs.findIndex((toldAtMs) => toldAtMs > atMs)
    return next < 0 ? undefined : this.#toldAtMs[next]! - (this.#toldAtMs[next - 1] ?? atMs)
  }

  /** After one more append got through. */
  async end(): Promise<void> {
    await this.untilMore(1)
    this.#isOver = true
    await this.#running
    await this.#playhead.close()
  }

  /** Without waiting for anything. */
  giveUp(): void {
    this.#isOver = true
    void this.#playhead.close().catch(() => undefined)
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      await this.#append()
      await sleep(pauseMs)
    }
  }

  async #append(): Promise<void> {
    const { recorder, workload, onFinding } = this.#options
    const value = workload.value(name)
    const version = this.#version
    const settle = recorder.append({
      session: name,
      partition: this.partition,
      producer: `${name} events`,
      sequence: this.#sequence++,
      events: [{ stream: name, value }],
      expected: version === undefined ? [] : [{ stream: name, version }],
    })
    const event = { type: 'Beat', data: workload.payload(value) }
    const options = version === undefined ? {} : { expectedVersion: version === -1 ? ('none' as const) : version }
    try {
      const told = await this.#playhead.topic(workload.topic).stream(name).append(event, options)
      settle({ kind: 'written', baseOffset: told.offset, versions: [told.version] })
      this.#version = told.version
      this.#toldAtMs.push(performance.now())
    } catch (error) {
      settle(outcomeOf(error))
      this.#version = undefined
      if (this.#isOver || (isPlayheadError(error) && (expected.has(error.code) || clusterCodes.has(error.code)))) return
      onFinding(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    }
  }
}
