/**
 * BenchRun: what each of the four benches is given: settings, connections, records, and the signal that ends it: Ctrl-C, or the first failure
 * that any part of it meets (`fail`). Made by bench-command.ts.
 */
import type { Playhead } from '../../client/index.ts'
import type { BenchSettings } from './bench-settings.ts'
import { Measurement } from './measurement.ts'
import { RecordLoad } from './record-load.ts'

export class BenchRun {
  readonly settings: BenchSettings
  /** As many as `settings.connections`, at least one. */
  readonly clients: readonly Playhead[]
  /** True if the topic was there before. */
  readonly isTopicOld: boolean
  readonly timeoutMs: number
  readonly load: RecordLoad
  /** What the report is about. */
  readonly measurement = new Measurement()
  /** The second phase of `stream`. */
  readonly reads = new Measurement()
  readonly #ending: AbortController

  constructor(
    settings: BenchSettings,
    clients: readonly Playhead[],
    { isTopicOld, timeoutMs, ending }: { isTopicOld: boolean; timeoutMs: number; ending: AbortController },
  ) {
    this.settings = settings
    this.clients = clients
    this.isTopicOld = isTopicOld
    this.timeoutMs = timeoutMs
    this.load = new RecordLoad(settings)
    this.#ending = ending
  }

  get signal(): AbortSignal {
    return this.#ending.signal
  }

  /** Ends the run; the first reason counts. */
  fail(reason: unknown): void {
    this.#ending.abort(reason)
  }

  /** What is being measured now. */
  get current(): Measurement {
    return this.reads.hasBegun ? this.reads : this.measurement
  }
}
