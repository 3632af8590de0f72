/**
 * Cleaner: gives back what the logs of a broker need no longer, now and then: segments that retention has given up. One log after the other.
 * A round that fails in one log is reported, goes on with the next log, and is tried again in the next round.
 * Neighbours: LogStore owns it; Retention does the work.
 */
import type { Timer } from '../platform/clock.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { Log } from './log.ts'
import type { StorageContext } from './storage-context.ts'

export interface CleanerOptions {
  readonly context: StorageContext
  /** As of now. */
  readonly logs: () => Iterable<Log>
}

export class Cleaner {
  readonly #options: CleanerOptions
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #closed = false
  /** What was reported of a log and has not gone well since. */
  readonly #reported = new Map<string, string>()

  constructor(options: CleanerOptions) {
    this.#options = options
    this.#schedule()
  }

  /** Ends after what is under way. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#running
  }

  #schedule(): void {
    const { clock, settings } = this.#options.context
    this.#timer = clock.after(settings.cleanIntervalMs, () => {
      this.#running = this.#round().finally(() => {
        this.#running = undefined
        if (!this.#closed) this.#schedule()
      })
    })
  }

  async #round(): Promise<void> {
    const logs = Array.from(this.#options.logs()) // topics come and go meanwhile
    for (const log of logs) {
      if (this.#closed) return
      await this.#clean(log)
    }
  }

  async #clean(log: Log): Promise<void> {
    const { report } = this.#options.context
    try {
      await log.retention.enforce()
      this.#reported.delete(log.name)
    } catch (error) {
      if (isPlayheadError(error, 'stopping') || isPlayheadError(error, 'storageFailed')) return // its owner has been told
      const text = `${log.name}: old events were not removed, tried again later: ${String(error)}`
      if (this.#reported.get(log.name) !== text) report('warn', text)
      this.#reported.set(log.name, text)
    }
  }
}
