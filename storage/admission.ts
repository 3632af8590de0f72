/**
 * Admission: the order in which appends enter one log. An append that must wait for anything (its own preparation, room in the file, a new
 * segment) waits here, and everything that comes later waits behind it, so that what was sent first takes effect first.
 * Invariant: between the last look at what blocks an append and its taking effect there is no await.
 * Neighbours: Log asks and is called back; the queue is bounded by number and bytes.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { Appended, IncomingAppend } from './incoming-append.ts'

interface Waiting {
  readonly append: IncomingAppend
  /** The append's own preparation. */
  readonly ready: Promise<void>
  resolve(result: Promise<Appended>): void
  reject(error: unknown): void
}

export interface AdmissionOptions {
  readonly waitingMax: number
  readonly waitingBytesMax: number
  /** What must be waited for before the append can take effect; undefined = nothing. Throws when it never can. */
  blocker(append: IncomingAppend): Promise<void> | undefined
  /** Makes the append take effect, synchronously. Throws when it is refused. */
  apply(append: IncomingAppend): Promise<Appended>
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

  /** Takes effect before this returns when nothing blocks it and nobody waits; else in order of arrival. `ready`: its own preparation, if it needs one. */
  enter(append: IncomingAppend, ready?: Promise<void>): Promise<Appended> {
    if (ready === undefined && this.#waiting.length === 0 && this.#options.blocker(append) === undefined) {
      return this.#options.apply(append)
    }
    ready?.catch(() => undefined) // looked at when its turn comes
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
      this.#waiting.push({ append, ready: ready ?? Promise.resolve(), resolve, reject })
      this.#pump ??= this.#run()
    })
  }

  /** Resolves when nobody waits any more. */
  async drained(): Promise<void> {
    await this.#pump
  }

  async #run(): Promise<void> {
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      try {
        await head.ready
        for (
          let wait = this.#options.blocker(head.append);
          wait !== undefined;
          wait = this.#options.blocker(head.append)
        )
          await wait
        head.resolve(this.#options.apply(head.append))
      } catch (error) {
        head.reject(error)
      }
      this.#waiting.shift()
      this.#waitingBytes -= head.append.group.batch.length
    }
    this.#pump = undefined
  }
}
