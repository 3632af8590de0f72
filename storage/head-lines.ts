/**
 * Where heads come from: the sidecar of a segment that is to go or, where it has none that can be read, the stream index.
 * Neighbours: heads.ts merges and writes lines; Retention chooses.
 */
import type { FileSystem } from '../platform/file-system.ts'
import type { HeadLine } from './heads.ts'
import type { PostingsEntries } from './sidecar.ts'
import { Sidecar } from './sidecar.ts'
import type { StreamIndex } from './stream-index.ts'

/** The streams of a segment, each with the version of its newest event there. */
export class SidecarHeads implements HeadLine {
  bytes: Buffer = nothing
  nameStart = 0
  nameEnd = 0
  lastVersion = 0
  readonly #sidecar: Sidecar
  readonly #blocks: AsyncGenerator<PostingsEntries>
  #entries: PostingsEntries | undefined

  private constructor(sidecar: Sidecar) {
    this.#sidecar = sidecar
    this.#blocks = sidecar.blocks()
  }

  /** Throws damagedData when any byte of the sidecar is not what was written. */
  static async open(fileSystem: FileSystem, path: string): Promise<SidecarHeads> {
    const sidecar = await Sidecar.open(fileSystem, path)
    try {
      await sidecar.checkBody()
      return new SidecarHeads(sidecar)
    } catch (error) {
      await sidecar[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Of all the segment. */
  get streams(): number {
    return this.#sidecar.footer.streams
  }

  next(): boolean | Promise<boolean> {
    return this.#entries?.next() === true ? this.#take(this.#entries) : this.#nextBlock()
  }

  async #nextBlock(): Promise<boolean> {
    const block = await this.#blocks.next()
    if (block.done === true) return false
    this.#entries = block.value
    return this.next()
  }

  #take({ bytes, nameStart, nameEnd, firstVersion, count }: PostingsEntries): boolean {
    this.bytes = bytes
    this.nameStart = nameStart
    this.nameEnd = nameEnd
    this.lastVersion = firstVersion + count - 1
    return true
  }

  async close(): Promise<void> {
    await this.#sidecar[Symbol.asyncDispose]()
  }
}

const streamsPerLook = 256

/** Every stream that an index knows, with the version of its newest event below an offset. */
export class IndexHeads implements HeadLine {
  bytes: Buffer = nothing
  nameStart = 0
  nameEnd = 0
  lastVersion = 0
  readonly #index: StreamIndex
  readonly #endOffset: number
  #page: { stream: string; lastVersion: number }[] = []
  #lastName: string | undefined
  #isAtEnd = false

  constructor(index: StreamIndex, endOffset: number) {
    this.#index = index
    this.#endOffset = endOffset
  }

  next(): boolean {
    while (this.#page.length === 0 && !this.#isAtEnd) {
      const { heads, lastName } = this.#index.heads(this.#lastName, streamsPerLook, this.#endOffset)
      this.#isAtEnd = lastName === undefined
      this.#lastName = lastName
      this.#page = heads
    }
    const head = this.#page.shift()
    if (head === undefined) return false
    this.bytes = Buffer.from(head.stream)
    this.nameEnd = this.bytes.length
    this.lastVersion = head.lastVersion
    return true
  }

  async close(): Promise<void> {
    // holds nothing
  }
}

const nothing = Buffer.alloc(0)
