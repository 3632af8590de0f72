/**
 * Supervisor: keeps one broker serving one directory on one port, as an operator's would: when it ends, the next one is started. Only a broker that
 * something is done to may end by itself; the end of any other is a failure. Neighbours: BrokerProcess below, the runs above.
 */
import { createServer } from 'node:net'
import { once } from 'node:events'
import { BrokerProcess } from './broker-process.ts'
import type { BrokerOptions, ProcessEnd, Trace } from './broker-process.ts'

/** How one broker ended that was not asked to. */
export interface UnplannedEnd extends ProcessEnd {
  readonly errors: string
}

export class Supervisor {
  /** Of brokers that were traced. */
  readonly ends: UnplannedEnd[] = []
  starts = 0
  /** The process that was traced last. */
  tracedId = -1
  /** Rejects when a broker ended that nothing was done to. */
  readonly failed: Promise<never>
  #options: BrokerOptions
  #fail: (error: Error) => void = () => {}
  #process: BrokerProcess | undefined
  readonly #planned = new Set<BrokerProcess>()
  #restarting: Promise<void> | undefined

  constructor(options: BrokerOptions) {
    this.#options = options
    this.failed = new Promise((_, reject) => {
      this.#fail = reject
    })
    this.failed.catch(() => undefined)
  }

  /** Resolves once a broker serves: this one, or the one after it. */
  async start(trace?: Trace): Promise<void> {
    this.starts++
    const process = new BrokerProcess(this.#options, trace)
    this.#process = process
    if (trace !== undefined) this.tracedId = process.id
    if (await process.ready) return void this.#watch(process)
    await this.#next(process, await process.ended)
  }

  /** Serves another directory from now on, once the broker of this one was stopped. */
  async moveTo(directory: string): Promise<void> {
    this.#options = { ...this.#options, directory }
    await this.start()
  }

  /** kill -9, after `harm`, by which it may end as well. */
  async kill(harm?: () => Promise<void>): Promise<void> {
    await this.#end('SIGKILL', harm)
  }

  /** SIGTERM. How it ended is among `ends` if it was neither well nor by itself. */
  async stop(): Promise<ProcessEnd> {
    return this.#end('SIGTERM')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const process = this.#process
    if (process === undefined) return
    this.#planned.add(process)
    process.signal('SIGKILL')
    await process.ended
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM', harm?: () => Promise<void>): Promise<ProcessEnd> {
    await this.#restarting
    const process = this.#process
    if (process === undefined) throw new Error(`found no broker, wanted one to end by ${signal}`)
    this.#planned.add(process)
    await harm?.()
    process.signal(signal)
    const end = await process.ended
    if (signal === 'SIGTERM' && end.code !== 0) this.#note(process, end)
    return end
  }

  async #watch(process: BrokerProcess): Promise<void> {
    const end = await process.ended
    if (this.#planned.has(process)) return
    this.#restarting = this.#next(process, end).catch((error: Error) => this.#fail(error))
  }

  async #next(process: BrokerProcess, end: ProcessEnd): Promise<void> {
    this.#note(process, end)
    if (process.isTraced) await this.start()
  }

  #note(process: BrokerProcess, end: ProcessEnd): void {
    if (process.isTraced) return void this.ends.push({ ...end, errors: process.errors })
    const error = new Error(`a broker ended (${end.code ?? end.signal}) that nothing was done to: ${process.errors}`)
    this.#fail(error)
    throw error
  }
}

/** A port that nobody listens on, below those that the kernel gives to others meanwhile. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer()
    const listening = once(server.listen(port, '127.0.0.1'), 'listening')
    const taken = await listening.then(
      () => false,
      () => true,
    )
    if (taken) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
  throw new Error('found no free port in 20000 … 31999, wanted one')
}
