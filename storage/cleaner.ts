/**
 * Cleaner: gives back what the logs of a broker need no longer, now and then: segments that retention has given up, records that compaction removes.
 * One log after the other, at full speed while nobody appends, else in a small share of the time. A round that fails in one log is reported, goes on
 * with the next log, and is tried again in the next round.
 * Neighbours: LogStore owns it; Retention and Compaction do the work.
 */
import { sleep } from '../platform/clock.ts'
import type { Timer } from '../platform/clock.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { Log } from './log.ts'
import type { StorageContext } from './storage-context.ts'

/** How long after an append a broker counts as busy. */
const busyMs = 200
/** Pause for each unit of work, then. */
const busyShare = 9

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
  #workedAtMs = 0
  #appendedBytes = 0
  #busyUntilMs = -Infinity

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
      this.#workedAtMs = this.#options.context.clock.monotonicMs()
      if (log.compaction.isDue) await log.compaction.run(() => this.#pause())
      this.#reported.delete(log.name)
    } catch (error) {
      if (this.#closed) return
      if (isPlayheadError(error, 'stopping') || isPlayheadError(error, 'storageFailed')) return // its owner has been told
      const text = `${log.name}: old events were not removed, tried again later: ${String(error)}`
      if (this.#reported.get(log.name) !== text) report('warn', text)
      this.#reported.set(log.name, text)
    }
  }

  /** After a piece of work. While anybody appends, the pauses are `busyShare` times as long as the work. */
  async #pause(): Promise<void> {
    const { clock } = this.#options.context
    const nowMs = clock.monotonicMs()
    let appendedBytes = 0
    for (const { stats } of this.#options.logs()) appendedBytes += stats.appendedBytes
    if (appendedBytes !== this.#appendedBytes) this.#busyUntilMs = nowMs + busyMs
    this.#appendedBytes = appendedBytes
    if (nowMs < this.#busyUntilMs) await sleep(clock, Math.max(1, busyShare * (nowMs - this.#workedAtMs)))
    else await clock.yield()
    this.#workedAtMs = clock.monotonicMs()
  }
}
