/**
 * PatientClients: clients of a simulation, real ones over the simulated network, that take what a client must expect and try again. Neighbours:
 * compaction-simulation.ts and cluster/limits-simulation.ts; sessions that are judged by the history checker are session.ts.
 */
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import type { Network } from './network.ts'
import type { Scheduler } from './scheduler.ts'
import { SimulatedProcess } from './simulated-process.ts'

export interface PatientClientsOptions {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly addresses: string | readonly string[]
  /** One of them is drawn for each client. */
  readonly timeoutsMs: readonly number[]
  /** What a client must expect; anything else is thrown. */
  readonly expected: ReadonlySet<string>
}

export class PatientClients {
  /** Calls that were refused as a client must expect. */
  refused = 0
  readonly #options: PatientClientsOptions

  constructor(options: PatientClientsOptions) {
    this.#options = options
  }

  async connect(who: string): Promise<Playhead> {
    const { scheduler, network, addresses, timeoutsMs } = this.#options
    const process = new SimulatedProcess(scheduler, who)
    const { clock, random } = process
    const timeoutMs = scheduler.random.pick(timeoutsMs)
    const options = { clientName: who, timeoutMs, transport: network.transport(process), clock, random }
    return await this.insist(() => connect(addresses, options))
  }

  /** Until it is done, or was refused because it is done already: `enough`. */
  async insist<T>(work: () => Promise<T>, enough?: string): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (isPlayheadError(error) && error.code === enough) return undefined as T
        this.expect(error)
        await this.#options.scheduler.sleep(50, 'again')
      }
    }
  }

  /** Throws what no client may ever be told. */
  expect(error: unknown): void {
    this.refused++
    if (!isPlayheadError(error) || !this.#options.expected.has(error.code)) throw error
  }
}
