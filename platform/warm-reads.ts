/**
 * WarmReads: whether what is wanted of a disk is worth reading at once, holding the event loop, because it likely lies in memory. A trip through
 * the thread pool costs ten times such a read; a read that does wait for a disk holds up everybody.
 * Invariant: of any time, no more than about a twentieth passes waiting for a disk this way, however slow it is: who met it asks the pool for
 * twenty times as long.
 * Neighbours: node-file-system.ts and the checkpoint store ask before they read, and tell how it went.
 */

/** Reads of memory are over before; a little of what disks answer is, too. */
const quickMs = 0.25
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

  /** When a read may begin at once, the moment for `ended`; undefined when it should not. */
  begin(): number | undefined {
    const nowMs = this.#clock.nowMs()
    if (nowMs < this.#restUntilMs) return undefined
    if (this.#restUntilMs > -Infinity) {
      this.#restUntilMs = -Infinity
      this.#diskReads = this.#clock.diskReads() // others read on while we rested
    }
    return nowMs
  }

  /** The read that began then is over. What took long without the disk having been read was the collector, or another process. */
  ended(startMs: number): void {
    const nowMs = this.#clock.nowMs()
    const tookMs = nowMs - startMs
    if (tookMs < quickMs) return
    const diskReads = this.#clock.diskReads()
    if (diskReads !== undefined && diskReads === this.#diskReads) return
    this.#diskReads = diskReads
    this.#restUntilMs = nowMs + restShare * tookMs
  }
}
