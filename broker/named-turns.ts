/** NamedTurns: changes of one thing happen one after the other, those of different things side by side. Used by Playheads and LimitedStreams. */
import { PlayheadError } from '../protocol/errors.ts'

/** Changes of one thing that may wait for each other. */
const waitingMax = 1_000

interface Queue {
  last: Promise<unknown>
  length: number
}

export class NamedTurns {
  readonly #kind: string
  readonly #queues = new Map<string, Queue>()

  /** `kind`: of the things, for people. */
  constructor(kind: string) {
    this.#kind = kind
  }

  /** Throws overloaded when too many wait, and what `work` throws. */
  async with<T>(name: string, work: () => Promise<T>): Promise<T> {
    const queue: Queue = this.#queues.get(name) ?? { last: Promise.resolve(), length: 0 }
    if (queue.length >= waitingMax) {
      const message = `${this.#kind} ${name}: found ${queue.length} changes waiting, wanted fewer than ${waitingMax}; change it less often`
      throw new PlayheadError('overloaded', message, { limit: waitingMax })
    }
    const turn = queue.last.then(work)
    queue.last = turn.catch(() => {})
    queue.length++
    this.#queues.set(name, queue)
    try {
      return await turn
    } finally {
      queue.length--
      if (queue.length === 0) this.#queues.delete(name)
    }
  }
}
