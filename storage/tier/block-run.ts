/**
 * BlockRun: neighbouring blocks of one object that come in one request, and the memory that they lie in. It is used again once nobody holds the run:
 * left to the collector, what a replay reads would wait for it by the hundred megabytes, and each new piece would cost its page faults.
 * Invariant: who looks at the bytes holds the run; they do not change from `ready` on.
 * Neighbours: TierBlocks makes runs, brings them and forgets them.
 */
import assert from 'node:assert/strict'
import type { FrameMemory, FramePiece } from '../../protocol/frame-memory.ts'
import { blockName, tierBlockBytes } from './block-sums.ts'
import type { SummedObject } from './block-sums.ts'

export class BlockRun {
  readonly object: SummedObject
  /** Of its blocks, and of the one after the last. */
  readonly place: number
  readonly endPlace: number
  /** Of the bytes in the object. */
  readonly position: number
  readonly sizeBytes: number
  /** Rejects as the store does. */
  ready: Promise<void> = Promise.resolve()
  /** It is there. */
  isReady = false
  /** Somebody waits for it, or it is only read ahead. */
  isUrgent: boolean
  /** What brings it from the store: from when it waits for a turn until one has come. */
  #work: (() => Promise<void>) | undefined
  #piece: FramePiece | undefined
  #holders = 1

  /** Held once, by whoever made it. */
  constructor(object: SummedObject, place: number, endPlace: number, isUrgent: boolean) {
    this.object = object
    this.isUrgent = isUrgent
    this.place = place
    this.endPlace = endPlace
    this.position = place * tierBlockBytes
    this.sizeBytes = Math.min(endPlace * tierBlockBytes, object.sizeBytes) - this.position
  }

  /** To be filled, with whatever it holds. */
  memory(memory: FrameMemory): Buffer {
    this.#piece ??= memory.take(this.sizeBytes)
    return this.bytes
  }

  get bytes(): Buffer {
    assert(this.#piece !== undefined, 'a run has no bytes before it has memory, nor after all have let go of it')
    return this.#piece.bytes.subarray(0, this.sizeBytes)
  }

  /** It waits for its turn. Resolves, or rejects, as the work does when `begin` has begun it. */
  whenBegun(work: () => Promise<void>): Promise<void> {
    assert(this.#work === undefined, 'a run is brought from the store once')
    return new Promise((resolve, reject) => {
      this.#work = () => work().then(resolve, reject)
    })
  }

  get isWaiting(): boolean {
    return this.#work !== undefined
  }

  /** Its turn has come. It may wait for several: the first that comes does the work, the others find nothing to do. Never rejects. */
  async begin(): Promise<void> {
    const work = this.#work
    this.#work = undefined
    await work?.()
  }

  hold(): void {
    assert(this.#holders > 0, 'nobody may hold a run that all have let go of')
    this.#holders++
  }

  letGo(): void {
    assert(this.#holders > 0, 'a run was let go of more often than held')
    if (--this.#holders > 0) return
    this.#piece?.letGo()
    this.#piece = undefined
  }

  /** The name of each of its blocks. */
  *names(): Generator<string> {
    for (let place = this.place; place < this.endPlace; place++) yield blockName(this.object.key, place)
  }
}
