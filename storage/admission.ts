/**
 * Admission: the order in which appends enter one log. An append that must wait for anything (its own preparation, room in the file, a new
 * segment) waits here, and everything that comes later waits behind it, so that what was sent first takes effect first.
 * Invariant: between the last look at what blocks an append and its taking effect there is no await.
 * Neighbours: Log asks and is called back; the queue is bounded by number and bytes.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { IncomingAppend } from './incoming-append.ts'
import type { Decision } from './log-end.ts'

interface Waiting {
  readonly append: IncomingAppend
  /** Its own preparation, if it needs one, and that under way or done. */
  readonly prepare: (() => Promise<void>) | undefined
  ready: Promise<void> | undefined
  resolve(decision: Decision): void
  reject(error: unknown): void
}

/** Appends at the head of the queue that are being prepared: more would hold more decompressed bytes than anybody has counted. */
const preparingMax = 4

export interface AdmissionOptions {
  readonly waitingMax: number
  readonly waitingBytesMax: number
  /** What must be waited for before the append can take effect; undefined = nothing. Throws when it never can. */
  blocker(append: IncomingAppend): Promise<void> | undefined
  /** Makes the append take effect or refuses it, synchronously. Throws when it cannot be decided. */
  decide(append: IncomingAppend): Decision
}

export class Admission {
  readonly #options: AdmissionOptions
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  #pump: Promise<void> | undefined

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  get waitingCount(): number {
    return this.#waiting.length
  }

  /** Takes effect before this returns when nothing blocks it and nobody waits, and is answered at once; else in order of arrival. `prepare`: what it must wait for itself; called once more at the head if there are no keys after the first time. */
  enter(append: IncomingAppend, prepare?: () => Promise<void>): Decision | Promise<Decision> {
    if (prepare === undefined && this.#waiting.length === 0 && this.#options.blocker(append) === undefined) {
      return this.#options.decide(append)
    }
    const bytes = append.group.batch.length
    if (
      this.#waiting.length >= this.#options.waitingMax ||
      this.#waitingBytes + bytes > this.#options.waitingBytesMax
    ) {
      throw new PlayheadError(
        'overloaded',
        `log: found ${this.#waiting.length} appends of ${this.#waitingBytes} bytes waiting, wanted fewer; send again later`,
      )
    }
    this.#waitingBytes += bytes
    return new Promise((resolve, reject) => {
      this.#waiting.push({ append, prepare, ready: undefined, resolve, reject })
      this.#prepareAhead()
      this.#pump ??= this.#run()
    })
  }

  /** Resolves when nobody waits any more. */
  async drained(): Promise<void> {
    await this.#pump
  }

  #prepareAhead(): void {
    for (let place = 0; place < preparingMax; place++) {
      const next = this.#waiting[place]
      if (next?.prepare === undefined || next.ready !== undefined) continue
      next.ready = next.prepare()
      next.ready.catch(() => undefined) // looked at when its turn comes
    }
  }

  async #run(): Promise<void> {
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      try {
        this.#prepareAhead()
        await head.ready
        if (head.prepare !== undefined && head.append.keys === undefined) await head.prepare()
        for (
          let wait = this.#options.blocker(head.append);
          wait !== undefined;
          wait = this.#options.blocker(head.append)
        )
          await wait
        head.resolve(this.#options.decide(head.append))
      } catch (error) {
        head.reject(error)
      }
      this.#waiting.shift()
      this.#waitingBytes -= head.append.group.batch.length
    }
    this.#pump = undefined
  }
}
