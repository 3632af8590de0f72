/**
 * RecoveryProgress: says at intervals how far a start has got. Where the cache was wiped, or a broker was killed under load, records are read again, and whoever
 * waits for that wants to know how long. Silent where a start is quick. TopicStore begins it, LogStore ends it, recovery.ts tells it what was read.
 */
import type { Clock } from '../platform/clock.ts'
import { MiB } from '../protocol/limits.ts'

const intervalMs = 5_000
/** The clock is looked at when so much was read. */
const lookBytes = 1 * MiB

export class RecoveryProgress {
  readonly #clock: Clock
  readonly #report: (level: 'info', message: string) => void
  readonly #startedMs: number
  #saidMs: number
  #logs = 0
  #openLogs = 0
  #bytes = 0
  #lookedBytes = 0
  #place = ''

  constructor(clock: Clock, report: (level: 'info', message: string) => void) {
    this.#clock = clock
    this.#report = report
    this.#startedMs = clock.monotonicMs()
    this.#saidMs = this.#startedMs
  }

  /** So many logs are to be opened in all. */
  begin(logs: number): void {
    this.#logs = logs
  }

  /** A log comes to one of its segments. */
  reached(log: string, segment: number, segments: number): void {
    this.#place = `${log} at segment ${segment} of ${segments}`
    this.#look()
  }

  /** Records were read because something derived did not have them. */
  replayed(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes - this.#lookedBytes < lookBytes) return
    this.#lookedBytes = this.#bytes
    this.#look()
  }

  opened(): void {
    this.#openLogs++
    this.#look()
  }

  /** All are open. Says so if it has said anything. */
  end(): void {
    if (this.#saidMs === this.#startedMs) return
    const seconds = Math.round((this.#clock.monotonicMs() - this.#startedMs) / 1000)
    this.#report('info', `start: all ${this.#logs} partitions are open after ${seconds} s, ${this.#read}`)
  }

  get #read(): string {
    return `${Math.round(this.#bytes / MiB)} MiB of records were read again`
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs()
    if (this.#openLogs >= this.#logs || nowMs - this.#saidMs < intervalMs) return
    this.#saidMs = nowMs
    this.#report('info', `start: ${this.#openLogs} of ${this.#logs} partitions are open, ${this.#read}; ${this.#place}`)
  }
}
