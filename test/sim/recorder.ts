/**
 * Recorder: turns what sessions do into a history and hands it to the checker as it grows. Time is a count of calls and answers, so that no two
 * are at one time. An append that is never answered (its client died, or the run ended) counts as unknown.
 */
import { HistoryChecker } from '../history/history-checker.ts'
import type {
  AppendOperation,
  AppendOutcome,
  Dump,
  ReadOperation,
  StreamReadOperation,
  TailOperation,
} from '../history/history.ts'
import type { Verdict } from '../history/history-checker.ts'
import type { Scheduler } from './scheduler.ts'

type Appending = Omit<AppendOperation, 'kind' | 'completedAt' | 'outcome' | 'invokedAt'>
type Seen<T> = Omit<T, 'kind' | 'session' | 'invokedAt' | 'completedAt'>

export class Recorder {
  readonly #checker = new HistoryChecker()
  readonly #scheduler: Scheduler
  readonly #open = new Set<AppendOperation>()
  #time = 0
  readonly #onTold: Record<'written' | 'conflict', (() => void)[]> = { written: [], conflict: [] }
  appends = 0
  acknowledged = 0
  refused = 0
  reads = 0

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  /** Time of a call. */
  now(): number {
    return ++this.#time
  }

  /** Before the call of an append; what is answered is to be called with its outcome. */
  append(appending: Appending): (outcome: AppendOutcome) => void {
    this.appends++
    const open: AppendOperation = {
      kind: 'append',
      ...appending,
      invokedAt: this.now(),
      completedAt: Infinity,
      outcome: { kind: 'unknown' },
    }
    this.#open.add(open)
    this.#checker.begin(open)
    return (outcome) => {
      if (!this.#open.delete(open)) return
      const isKnown = outcome.kind !== 'unknown'
      if (outcome.kind === 'written') this.acknowledged++
      if (outcome.kind === 'refused') this.refused++
      if (outcome.kind === 'written') this.#told('written')
      else if (outcome.kind === 'refused' && outcome.conflicts.length > 0) this.#told('conflict')
      this.#scheduler.note(`${open.producer}#${open.sequence} ${JSON.stringify(outcome)}`)
      this.#checker.add({ ...open, completedAt: isKnown ? this.now() : Infinity, outcome })
    }
  }

  /** Resolves in the turn in which a client hears of the next append that was written, or of the next conflict. */
  nextTold(what: 'written' | 'conflict'): Promise<void> {
    return new Promise((resolve) => this.#onTold[what].push(resolve))
  }

  #told(what: 'written' | 'conflict'): void {
    for (const resolve of this.#onTold[what].splice(0)) resolve()
  }

  read(session: string, invokedAt: number, read: Seen<ReadOperation>): void {
    this.reads++
    this.#checker.add({ kind: 'read', session, invokedAt, completedAt: this.now(), ...read })
  }

  readStream(session: string, invokedAt: number, read: Seen<StreamReadOperation>): void {
    this.reads++
    this.#checker.add({ kind: 'readStream', session, invokedAt, completedAt: this.now(), ...read })
  }

  tail(session: string, invokedAt: number, tail: Seen<TailOperation>): void {
    this.reads++
    this.#checker.add({ kind: 'tail', session, invokedAt, completedAt: this.now(), ...tail })
  }

  /** Before the call that removes what lies before `offset`. */
  trimming(partition: number, offset: number): void {
    this.#checker.trimming(partition, offset)
  }

  dump(dump: Omit<Dump, 'kind'>): void {
    this.#checker.add({ kind: 'dump', ...dump })
  }

  /** Nobody waits for answers any more. */
  abandon(session?: string): void {
    for (const open of this.#open) {
      if (session !== undefined && open.session !== session) continue
      this.#open.delete(open)
      this.#checker.add(open)
    }
  }

  finish(): Verdict {
    this.abandon()
    return this.#checker.finish()
  }
}
