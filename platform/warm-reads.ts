/**
 * WarmReads: whether what is wanted of a disk is worth reading at once, holding the event loop, because it likely lies in memory. A trip through
 * the thread pool costs ten times such a read; a read that does wait for a disk holds up everybody.
 * Invariant: of any time, no more than about a twentieth passes waiting for a disk this way, however slow it is: who met it asks the pool for
 * twenty times as long.
 * Neighbours: node-file-system.ts and the checkpoint store read through it.
 */

/** Reads of memory are over before. */
const quickMs = 0.05
/** So long is never believed to have been anything but the disk, whatever the kernel counts: some file systems tell it nothing. */
const longMs = 5
const restShare = 20

export interface WarmReadsClock {
  readonly nowMs: () => number
  /** Of this process so far; undefined where nobody counts. */
  readonly diskReads: () => number | undefined
}

const processClock: WarmReadsClock = {
  nowMs: () => performance.now(),
  diskReads: () => (process.platform === 'linux' ? process.resourceUsage().fsRead : undefined),
}

export class WarmReads {
  readonly #clock: WarmReadsClock
  /** -Infinity = not resting. */
  #restUntilMs = -Infinity
  #diskReads: number | undefined

  constructor(clock = processClock) {
    this.#clock = clock
    this.#diskReads = clock.diskReads()
  }

  /** Whether to read at once. */
  get areLikely(): boolean {
    return this.#begin() !== undefined
  }

  /** What `read` answers or throws; how long it took says what is likely from then on. Undefined, and nothing is read, where it is not likely now. */
  ifLikely<T>(read: () => T): T | undefined {
    const startMs = this.#begin()
    return startMs === undefined ? undefined : this.#timed(startMs, read)
  }

  /** The same of what is read in any case: where it was not likely before, it is not judged. */
  measured<T>(read: () => T): T {
    const startMs = this.#begin()
    return startMs === undefined ? read() : this.#timed(startMs, read)
  }

  #timed<T>(startMs: number, read: () => T): T {
    let hasFailed = true
    try {
      const answer = read()
      hasFailed = false
      return answer
    } finally {
      this.#ended(startMs, hasFailed)
    }
  }

  /** The moment; undefined while resting. */
  #begin(): number | undefined {
    const nowMs = this.#clock.nowMs()
    if (nowMs < this.#restUntilMs) return undefined
    if (this.#restUntilMs > -Infinity) {
      this.#restUntilMs = -Infinity
      this.#diskReads = this.#clock.diskReads() // others read on while we rested
    }
    return nowMs
  }

  /** What took a while without the disk having been read was the collector, or another process. */
  #ended(startMs: number, hasFailed: boolean): void {
    const nowMs = this.#clock.nowMs()
    const tookMs = nowMs - startMs
    if (tookMs < quickMs) return
    const diskReads = this.#clock.diskReads()
    const isOther = diskReads !== undefined && diskReads === this.#diskReads
    if (isOther && tookMs < longMs && !hasFailed) return
    this.#diskReads = diskReads
    this.#restUntilMs = nowMs + restShare * tookMs
  }
}
