/**
 * TierBlocks: bytes of objects of the tier, in blocks that are each checked against the sum that was taken when they were sent: what a store or a
 * network has changed is asked for again and never given out. Blocks that several want at once are asked for once; neighbours come in one request.
 * Two budgets: memory for what was read and for what is read ahead, and requests at once, of which reading ahead never has them all. What is read ahead
 * and wanted before its turn has come takes the first turn of either kind.
 * Neighbours: remote-file.ts reads through it, block-run.ts is what comes in one request, block-cache.ts keeps blocks on the local disk.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import { FrameMemory } from '../../protocol/frame-memory.ts'
import type { BlockCache } from './block-cache.ts'
import { BlockRun } from './block-run.ts'
import { blockName, tierBlockBytes, wrongBlock } from './block-sums.ts'
import type { SummedObject } from './block-sums.ts'
import { tierUnavailable } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import type { RateLimit } from '../rate-limit.ts'
import { Turns } from '../turns.ts'

export interface TierBlocksOptions {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly cache: BlockCache
  readonly rate: RateLimit
  /** Of blocks that wait for whoever asks next, and of those read ahead. */
  readonly memoryBytesMax: number
  readonly requestsMax: number
}

/** One request brings so many at most. */
const requestBlocksMax = 32
/** How often an object that is not there, or not as it was sent, is asked for again. */
const rereadsMax = 5
const rereadWaitMs = 50

/** How far ahead of somebody who reads in order, and up to which position that has been asked for. */
export interface Pace {
  readonly aheadBytes: number
  readonly broughtTo: number
}

/** Segments that somebody is about to come to. */
const expectedMax = 64

/** How blocks are brought: whether the local disk keeps them, and whether somebody waits for them. */
interface Bringing {
  readonly keep: 'keep' | 'pass'
  readonly isUrgent: boolean
}

export class TierBlocks {
  readonly stats = { requests: 0, readBytes: 0, cachedBytes: 0, wrongCached: 0, wrongBlocks: 0, aheadBytes: 0 }
  readonly #options: TierBlocksOptions
  /** What is here or on its way, the least recently wanted first; each is held once. */
  readonly #runs = new Set<BlockRun>()
  readonly #runOfBlock = new Map<string, BlockRun>()
  #runBytes = 0
  readonly #memory: FrameMemory
  readonly #expected = new Map<string, Pace>()
  readonly #turns: Turns
  readonly #aheadTurns: Turns

  constructor(options: TierBlocksOptions) {
    this.#options = options
    this.#memory = new FrameMemory(options.memoryBytesMax / 4)
    this.#turns = new Turns(options.requestsMax)
    this.#aheadTurns = new Turns(Math.max(1, options.requestsMax >> 1))
  }

  get memoryBytes(): number {
    return this.#runBytes
  }

  /**
   * Fills `target` with the object's bytes from `position` on; both lie within it. `keep`: on the local disk too, because they will be wanted
   * again. Throws tierUnavailable, tierRefused.
   */
  async read(object: SummedObject, position: number, target: Buffer, keep: 'keep' | 'pass'): Promise<void> {
    const endPosition = position + target.length
    const first = Math.floor(position / tierBlockBytes)
    const runs = this.#wanted(object, first, Math.ceil(endPosition / tierBlockBytes), { keep, isUrgent: true })
    for (const run of runs) run.hold()
    try {
      for (const run of runs) {
        await run.ready
        const from = Math.max(position, run.position)
        const to = Math.min(endPosition, run.position + run.sizeBytes)
        run.bytes.copy(target, from - position, from - run.position, to - run.position)
      }
    } finally {
      for (const run of runs) run.letGo()
    }
    this.#forgetOldest()
  }

  /** Has blocks brought that will be asked for soon, as far as there is room. */
  ahead(object: SummedObject, position: number, endPosition: number): void {
    this.#begin(object, position, endPosition, { keep: 'pass', isUrgent: false })
  }

  /** The same of blocks that are asked for in the same breath, and will be again. */
  beside(object: SummedObject, position: number, endPosition: number): void {
    this.#begin(object, position, endPosition, { keep: 'keep', isUrgent: true })
  }

  /** Somebody who reads in order comes to the segment of this id next. */
  expect(id: string, pace: Pace): void {
    this.#expected.delete(id)
    this.#expected.set(id, pace)
    for (const oldest of this.#expected.keys()) {
      if (this.#expected.size <= expectedMax) break
      this.#expected.delete(oldest)
    }
  }

  /** The pace of whoever was expected there, once. */
  expected(id: string): Pace | undefined {
    const pace = this.#expected.get(id)
    this.#expected.delete(id)
    return pace
  }

  #begin(object: SummedObject, position: number, endPosition: number, bringing: Bringing): void {
    const first = Math.floor(position / tierBlockBytes)
    const end = Math.ceil(Math.min(endPosition, object.sizeBytes) / tierBlockBytes)
    this.#forgetOldest()
    if (this.#runBytes > this.#blockBytesMax) return
    const roomBlocks = Math.floor(this.#blockBytesMax / 2 / tierBlockBytes)
    this.#wanted(object, first, Math.min(end, first + roomBlocks), bringing)
  }

  /** What holds the blocks [first, end), in order. What was not here is on its way now. */
  #wanted(object: SummedObject, first: number, end: number, bringing: Bringing): BlockRun[] {
    const runs: BlockRun[] = []
    for (let place = first; place < end; ) {
      const run = this.#known(object, place) ?? this.#bring(object, place, end, bringing)
      if (bringing.isUrgent) this.#hasten(run)
      runs.push(run)
      place = run.endPlace
    }
    return runs
  }

  #known(object: SummedObject, place: number): BlockRun | undefined {
    const run = this.#runOfBlock.get(blockName(object.key, place))
    if (run === undefined) return undefined
    this.#runs.delete(run)
    this.#runs.add(run)
    return run
  }

  /** Begins to bring blocks from `place` on, in one request: up to `end`, or to one that is known. */
  #bring(object: SummedObject, place: number, end: number, bringing: Bringing): BlockRun {
    const endMax = Math.min(end, place + requestBlocksMax)
    let runEnd = place + 1
    while (runEnd < endMax && !this.#runOfBlock.has(blockName(object.key, runEnd))) runEnd++
    const run = new BlockRun(object, place, runEnd, bringing.isUrgent)
    this.#runs.add(run)
    for (const name of run.names()) this.#runOfBlock.set(name, run)
    this.#runBytes += run.sizeBytes
    run.ready = this.#fetch(run, bringing.keep)
    run.ready.then(
      () => (run.isReady = true),
      () => this.#forget(run), // whoever wants it asks himself, and hears why
    )
    return run
  }

  /** Somebody waits for what was only to be read ahead: it waits for a turn of both kinds from now on. */
  #hasten(run: BlockRun): void {
    if (run.isUrgent) return
    run.isUrgent = true
    if (run.isWaiting) void this.#turns.with(() => run.begin())
  }

  async #fetch(run: BlockRun, keep: Bringing['keep']): Promise<void> {
    const { cache } = this.#options
    const { object, position, sizeBytes } = run
    run.hold()
    try {
      if (cache.holds(object.key, position, sizeBytes)) {
        const isThere = await cache.read(object.key, position, run.memory(this.#memory))
        if (isThere && wrongBlock(object, position, run.bytes) < 0) {
          this.stats.cachedBytes += sizeBytes
          return
        }
        this.stats.wrongCached++
        cache.forget(object.key, position, sizeBytes)
      }
      const brought = run.whenBegun(() => this.#fromStore(object, position, run.memory(this.#memory)))
      void (run.isUrgent ? this.#turns : this.#aheadTurns).with(() => run.begin())
      await brought
      if (keep === 'pass') this.stats.aheadBytes += sizeBytes
      else {
        run.hold()
        cache.write(object.key, position, run.bytes, () => run.letGo())
      }
    } finally {
      run.letGo()
    }
  }

  async #fromStore(object: SummedObject, position: number, target: Buffer): Promise<void> {
    const { store, clock, rate } = this.#options
    let found = ''
    for (let attempt = 0; attempt < rereadsMax; attempt++) {
      if (attempt > 0) await sleep(clock, rereadWaitMs * 2 ** attempt)
      await rate.take(target.length)
      this.stats.requests++
      const count = await store.read(object.key, position, target)
      this.stats.readBytes += count ?? 0
      if (count === undefined) found = 'no such object'
      else if (count < target.length) found = `${count} bytes at ${position} of ${target.length}`
      else {
        const wrong = wrongBlock(object, position, target)
        if (wrong < 0) return
        found = `other bytes at ${wrong} than those that were sent`
        this.stats.wrongBlocks++
      }
    }
    throw tierUnavailable(store.location, `${found} of ${object.key}`)
  }

  #forgetOldest(): void {
    for (const run of this.#runs) {
      if (this.#runBytes <= this.#blockBytesMax) return
      if (run.isReady) this.#forget(run)
    }
  }

  #forget(run: BlockRun): void {
    if (!this.#runs.delete(run)) return
    for (const name of run.names()) this.#runOfBlock.delete(name)
    this.#runBytes -= run.sizeBytes
    run.letGo()
  }

  /** The rest is for memory that waits to be used again. */
  get #blockBytesMax(): number {
    return (this.#options.memoryBytesMax * 3) / 4
  }
}
