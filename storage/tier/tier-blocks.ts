/**
 * TierBlocks: bytes of objects of the tier, in blocks that are each checked against the sum that was taken when they were sent: what a store or a
 * network has changed is asked for again and never given out. Blocks that several want at once are asked for once; neighbours come in one request.
 * Two budgets: memory for what was read and for what is read ahead, and requests at once, of which reading ahead never has them all.
 * Neighbours: remote-file.ts reads through it, block-cache.ts keeps blocks on the local disk.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import type { BlockCache } from './block-cache.ts'
import { tierBlockBytes, wrongBlock } from './block-sums.ts'
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

interface Block {
  readonly key: string
  readonly place: number
  readonly bytes: Promise<Buffer>
  readonly sizeBytes: number
  settled: boolean
}

export class TierBlocks {
  readonly stats = { requests: 0, readBytes: 0, cachedBytes: 0, wrongBlocks: 0, aheadBytes: 0 }
  readonly #options: TierBlocksOptions
  /** By object and place, the least recently wanted first. */
  readonly #blocks = new Map<string, Block>()
  #blockBytes = 0
  readonly #expected = new Map<string, Pace>()
  readonly #turns: Turns
  readonly #aheadTurns: Turns

  constructor(options: TierBlocksOptions) {
    this.#options = options
    this.#turns = new Turns(options.requestsMax)
    this.#aheadTurns = new Turns(Math.max(1, options.requestsMax >> 1))
  }

  get memoryBytes(): number {
    return this.#blockBytes
  }

  /**
   * Fills `target` with the object's bytes from `position` on; both lie within it. `keep`: on the local disk too, because they will be wanted
   * again. Throws tierUnavailable, tierRefused.
   */
  async read(object: SummedObject, position: number, target: Buffer, keep: 'keep' | 'pass'): Promise<void> {
    const first = Math.floor(position / tierBlockBytes)
    const end = Math.ceil((position + target.length) / tierBlockBytes)
    const blocks = await this.#wanted(object, first, end, { keep, turns: this.#turns })
    for (const block of blocks) {
      const bytes = await block.bytes
      const start = block.place * tierBlockBytes
      const from = Math.max(position, start)
      const to = Math.min(position + target.length, start + bytes.length)
      bytes.copy(target, from - position, from - start, to - start)
    }
    this.#forgetOldest()
  }

  /** Has blocks brought that will be asked for soon, as far as there is room. */
  ahead(object: SummedObject, position: number, endPosition: number, keep: 'keep' | 'pass' = 'pass'): void {
    const first = Math.floor(position / tierBlockBytes)
    const end = Math.ceil(Math.min(endPosition, object.sizeBytes) / tierBlockBytes)
    this.#forgetOldest()
    if (this.#blockBytes > this.#options.memoryBytesMax) return
    const roomBlocks = Math.floor(this.#options.memoryBytesMax / 2 / tierBlockBytes)
    this.#wanted(object, first, Math.min(end, first + roomBlocks), { keep, turns: this.#aheadTurns }).catch(
      () => undefined, // whoever wants them asks himself, and hears why
    )
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

  async #wanted(
    object: SummedObject,
    first: number,
    end: number,
    { keep, turns }: { keep: 'keep' | 'pass'; turns: Turns },
  ): Promise<Block[]> {
    const blocks: Block[] = []
    for (let place = first; place < end; ) {
      const known = this.#known(object, place)
      if (known !== undefined) {
        blocks.push(known)
        place++
        continue
      }
      let runEnd = place + 1
      while (runEnd < end && runEnd - place < requestBlocksMax && !this.#blocks.has(blockName(object, runEnd))) runEnd++
      blocks.push(...this.#bring(object, place, runEnd, keep, turns))
      place = runEnd
    }
    return await Promise.resolve(blocks)
  }

  #known(object: SummedObject, place: number): Block | undefined {
    const name = blockName(object, place)
    const block = this.#blocks.get(name)
    if (block === undefined) return undefined
    this.#blocks.delete(name)
    this.#blocks.set(name, block)
    return block
  }

  /** Begins to bring the blocks [first, end) in one request. */
  #bring(object: SummedObject, first: number, end: number, keep: 'keep' | 'pass', turns: Turns): Block[] {
    const start = first * tierBlockBytes
    const runBytes = Math.min(end * tierBlockBytes, object.sizeBytes) - start
    const run = this.#fetch(object, start, runBytes, keep, turns)
    const blocks: Block[] = []
    for (let place = first; place < end; place++) {
      const from = place * tierBlockBytes - start
      const sizeBytes = Math.min(tierBlockBytes, runBytes - from)
      const name = blockName(object, place)
      const bytes = run.then((all) => all.subarray(from, from + sizeBytes))
      const block: Block = { key: object.key, place, bytes, sizeBytes, settled: false }
      bytes.then(
        () => (block.settled = true),
        () => this.#forget(name, block),
      )
      this.#blocks.set(name, block)
      this.#blockBytes += sizeBytes
      blocks.push(block)
    }
    return blocks
  }

  async #fetch(
    object: SummedObject,
    position: number,
    runBytes: number,
    keep: 'keep' | 'pass',
    turns: Turns,
  ): Promise<Buffer> {
    const { cache } = this.#options
    const target = Buffer.allocUnsafeSlow(runBytes)
    if ((await cache.read(object.key, position, target)) && wrongBlock(object, position, target) < 0) {
      this.stats.cachedBytes += runBytes
      return target
    }
    await turns.with(() => this.#fromStore(object, position, target))
    if (keep === 'keep') cache.write(object.key, position, target)
    else this.stats.aheadBytes += runBytes
    return target
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
    if (this.#blockBytes <= this.#options.memoryBytesMax) return
    for (const [name, block] of this.#blocks) {
      if (!block.settled) continue
      this.#forget(name, block)
      if (this.#blockBytes <= this.#options.memoryBytesMax) return
    }
  }

  #forget(name: string, block: Block): void {
    if (this.#blocks.get(name) !== block) return
    this.#blocks.delete(name)
    this.#blockBytes -= block.sizeBytes
  }
}

function blockName({ key }: SummedObject, place: number): string {
  return `${key}#${place}`
}
