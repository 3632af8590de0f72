/**
 * Scheduler: the only source of "what happens next" in a simulation. Holds a virtual clock and the events to come; which of those due
 * at one time goes first is drawn from the seed. Each event runs in a turn of its own, so that promises settle before the next.
 * Invariant: the same seed gives the same sequence of events, of which `hash` is the proof. Everything in test/sim stands on it.
 */
import type { SeededRandom } from '../storage/seeded-random.ts'

export interface ScheduledEvent {
  cancel(): void
}

interface Planned {
  readonly atMs: number
  readonly tie: number
  readonly label: string
  run: (() => void) | undefined
}

/** Turns handed to the event loop at once: microtasks are drained between them all the same, and the loop is entered less often. */
const turnsAtOnce = 32

export class Scheduler {
  readonly random: SeededRandom
  events = 0
  /** When set, every event is kept as a line, for a look at one seed. */
  lines: string[] | undefined
  readonly #heap: Planned[] = []
  #nowMs = 0
  #hash = 0x811c9dc5

  constructor(random: SeededRandom) {
    this.random = random
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Of all that has happened, in order. */
  get hash(): number {
    return this.#hash >>> 0
  }

  /** A number from `least` to `most`, not whole. */
  between(least: number, most: number): number {
    return least + (this.random.below(1_000_000) / 1_000_000) * (most - least)
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.random.below(times) === 0
  }

  /** `run` happens `delayMs` of virtual time from now. */
  after(delayMs: number, label: string, run: () => void): ScheduledEvent {
    const planned: Planned = { atMs: this.nowMs + delayMs, tie: this.random.below(2 ** 32), label, run }
    this.#push(planned)
    return { cancel: () => (planned.run = undefined) }
  }

  sleep(delayMs: number, label = 'sleep'): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, label, resolve))
  }

  /** Puts a line into the trace. */
  note(line: string): void {
    let hash = this.#hash
    for (let at = 0; at < line.length; at++) hash = Math.imul(hash ^ line.charCodeAt(at), 0x01000193)
    this.#hash = Math.imul(hash ^ Math.round(this.nowMs * 1000), 0x01000193)
    this.lines?.push(`${this.nowMs.toFixed(3)} ${line}`)
  }

  /** Lets events happen until `main` has settled. Rejects when nothing is left to happen before that, or after `eventsMax`. */
  run<T>(main: () => Promise<T>, eventsMax: number): Promise<T> {
    return new Promise((resolve, reject) => {
      let ended = false
      const end = (settle: () => void) => {
        ended = true
        settle()
      }
      let turnsLeft = 0
      const turn = () => {
        turnsLeft--
        if (ended) return
        try {
          if (!this.#step()) throw new Error('simulation: found nothing left to happen, wanted an end')
          if (this.events > eventsMax) throw new Error(`simulation: found no end after ${eventsMax} events`)
        } catch (error) {
          return end(() => reject(error))
        }
        if (turnsLeft === 0) plan()
      }
      const plan = () => {
        turnsLeft = turnsAtOnce
        for (let count = 0; count < turnsAtOnce; count++) setImmediate(turn)
      }
      main().then(
        (value) => end(() => resolve(value)),
        (error: unknown) => end(() => reject(error)),
      )
      plan()
    })
  }

  #step(): boolean {
    for (;;) {
      const planned = this.#pop()
      if (planned === undefined) return false
      if (planned.run === undefined) continue
      this.#nowMs = planned.atMs
      this.events++
      this.note(planned.label)
      planned.run()
      return true
    }
  }

  #push(planned: Planned): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(planned)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(planned, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = planned
  }

  #pop(): Planned | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return top
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie)
}
