/**
 * ReadTurns: how many blocks of a log are read at once in one turn of the event loop, by all reads together; who wants more waits for the next turn, so
 * that appends and everybody else have theirs. Neighbours: SegmentReader asks before it reads for streams.
 */
import type { Yielding } from '../platform/clock.ts'

export class ReadTurns {
  readonly #clock: Yielding
  readonly #blocksMax: number
  #blocks = 0
  /** Resolves when this turn is over; of an earlier one while nothing was read. */
  #over: Promise<void> = Promise.resolve()

  constructor(clock: Yielding, blocksMax: number) {
    this.#clock = clock
    this.#blocksMax = blocksMax
  }

  /** Resolves in a turn in which so many blocks may be read; undefined = in this one. Who wants more than there may be has a turn of its own. */
  take(blocks: number): Promise<void> | undefined {
    return this.#isRoom(blocks) ? this.#taken(blocks) : this.#wait(blocks)
  }

  /** Whether so many may be read in this turn, without one of their own. */
  hasRoom(blocks: number): boolean {
    return blocks <= this.#blocksMax && this.#isRoom(blocks)
  }

  #isRoom(blocks: number): boolean {
    return this.#blocks === 0 || this.#blocks + blocks <= this.#blocksMax
  }

  #taken(blocks: number): undefined {
    if (this.#blocks === 0) this.#over = this.#clock.yield().then(() => void (this.#blocks = 0))
    this.#blocks += blocks
  }

  async #wait(blocks: number): Promise<void> {
    while (!this.#isRoom(blocks)) await this.#over
    this.#taken(blocks)
  }
}
