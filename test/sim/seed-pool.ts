/**
 * SeedPool: many seeds over all cores. A simulation is one thread's work from beginning to end, so seeds are what is shared out.
 * A seed that does not end is a finding like any other: its thread is ended and another one goes on.
 */
import { Worker } from 'node:worker_threads'
import { emptyResult } from './run-seed.ts'
import type { SimulationResult } from './run-seed.ts'
import type { AnySimulation } from './simulate-any.ts'

export interface SeedPoolOptions {
  readonly first: number
  readonly count: number
  /** No seed is begun after this, by Date.now(). */
  readonly untilMs?: number
  readonly threads: number
  /** Only these faults; drawn by each seed when absent. */
  readonly kinds?: readonly string[] | undefined
  /** Of a cluster, not of one broker. */
  readonly isCluster?: boolean
}

/** A seed takes a fraction of a second: one that takes so long will never end. */
const seedMsMax = 120_000

/** Resolves when all seeds have been through; `onResult` gets them as they end, and answers false when that was enough. */
export async function runSeeds(
  { first, count, untilMs = Infinity, threads, kinds, isCluster = false }: SeedPoolOptions,
  onResult: (result: SimulationResult) => boolean,
): Promise<void> {
  let next = first
  let enough = false
  const take = () => (enough || next >= first + count || Date.now() >= untilMs ? undefined : next++)
  const runThread = async () => {
    let worker: SeedThread | undefined
    for (let seed = take(); seed !== undefined; seed = take()) {
      worker ??= new SeedThread()
      const result = await worker.run({ seed, isCluster, ...(kinds && { kinds }) })
      if (result === undefined) worker = undefined
      const goOn = onResult(result ?? { ...emptyResult(seed), findings: [`no end after ${seedMsMax} ms of real time`] })
      if (!goOn) enough = true
    }
    await worker?.end()
  }
  await Promise.all(Array.from({ length: Math.min(threads, count) }, runThread))
}

class SeedThread {
  readonly #worker = new Worker(new URL('seed-worker.ts', import.meta.url))
  #settle: { resolve(result: SimulationResult | undefined): void; reject(error: Error): void } | undefined

  constructor() {
    this.#worker.on('message', (result: SimulationResult) => this.#settle?.resolve(result))
    this.#worker.on('error', (error) => this.#settle?.reject(new Error('a thread of the simulator', { cause: error })))
    this.#worker.on('exit', (code) => this.#settle?.reject(new Error(`a thread of the simulator ended with ${code}`)))
  }

  /** Undefined when it did not end: then this thread is no more. */
  async run(options: AnySimulation): Promise<SimulationResult | undefined> {
    const { promise, ...settle } = Promise.withResolvers<SimulationResult | undefined>()
    this.#settle = settle
    const timer = setTimeout(() => {
      settle.resolve(undefined)
      void this.end()
    }, seedMsMax)
    this.#worker.postMessage(options, [])
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#settle = undefined
    }
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
