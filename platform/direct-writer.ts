/**
 * DirectWriter: appends to one file past the page cache, each durable when it resolves (O_DIRECT and O_DSYNC). The disk takes the bytes
 * from our memory: nothing is copied by the kernel, and write and sync are one call (docs/decisions/0013 has the figures).
 * Such writes consist of whole blocks (disks have 512 or 4096 bytes; the larger fits both), so bytes are put together in aligned memory, and
 * the beginning of the last block is kept: the next append writes it again, byte for byte as it was, with its own bytes behind.
 * Invariant: one append at a time, and nothing stands in the file behind the place where it ends.
 * Neighbour: NodeFile has one for each file that is appended to.
 */
import fs from 'node:fs'
import { closeDescriptor, openIfPossible } from './descriptor.ts'
import { DirectMemory } from './direct-memory.ts'
import { appendBlockBytes, blocksEnd } from './file-system.ts'

const { O_DIRECT, O_DSYNC, O_WRONLY } = fs.constants as { O_DIRECT?: number; O_DSYNC?: number; O_WRONLY: number }

type ReadFile = (target: Buffer, position: number) => Promise<number>

/** Reserved by the first append of the process; null = not to be had. */
let shared: DirectMemory | null | undefined

export class DirectWriter {
  readonly #descriptor: number
  readonly #memory: DirectMemory
  readonly #read: ReadFile
  /** What the block that the last append ended in holds before that end. */
  readonly #block = Buffer.alloc(appendBlockBytes)
  /** Where the last append ended; -1 = nowhere yet, or that is not known any more. */
  #end = -1

  private constructor(descriptor: number, memory: DirectMemory, read: ReadFile) {
    this.#descriptor = descriptor
    this.#memory = memory
    this.#read = read
  }

  /** Undefined where file system, kernel or runtime cannot do it. `read`: fills the target from a position of the file, through the page cache. */
  static async open(path: string, read: ReadFile): Promise<DirectWriter | undefined> {
    if (O_DIRECT === undefined || O_DSYNC === undefined) return undefined
    if (shared === undefined) shared = DirectMemory.reserve() ?? null
    if (shared === null) return undefined
    const descriptor = await openIfPossible(path, O_WRONLY | O_DIRECT | O_DSYNC)
    return descriptor === undefined ? undefined : new DirectWriter(descriptor, shared, read)
  }

  /** Resolves when all bytes of `parts` are durable, from byte `position` on; nothing may stand behind them. */
  async append(parts: readonly Buffer[], position: number): Promise<void> {
    const source = new PartsReader(parts)
    for (let at = position; source.restBytes > 0; ) {
      const start = at - (at % appendBlockBytes)
      const taken = this.#memory.take(at - start + source.restBytes)
      const piece = taken instanceof Buffer ? taken : await taken
      try {
        const goesOn = at === this.#end
        this.#end = -1
        if (!goesOn) await this.#learn(start, at)
        this.#block.copy(piece, 0, 0, at - start)
        const end = at - start + source.copyTo(piece, at - start)
        const paddedEnd = blocksEnd(end)
        piece.fill(0, end, paddedEnd)
        await writeAll(this.#descriptor, piece.subarray(0, paddedEnd), start)
        piece.copy(this.#block, 0, end - (end % appendBlockBytes), end)
        at = start + end
        this.#end = at
      } finally {
        this.#memory.give(piece)
      }
    }
  }

  /** Makes [from, to) durable zeros; both are multiples of a block. */
  async writeZeros(from: number, to: number): Promise<void> {
    const { zeros } = this.#memory
    for (let at = from; at < to; at += zeros.length) {
      await writeAll(this.#descriptor, zeros.subarray(0, Math.min(zeros.length, to - at)), at)
    }
  }

  /** The file was changed otherwise. */
  forget(): void {
    this.#end = -1
  }

  close(): Promise<void> {
    return closeDescriptor(this.#descriptor)
  }

  /** What stands in the block from `start` up to `at`. */
  async #learn(start: number, at: number): Promise<void> {
    const count = await this.#read(this.#block.subarray(0, at - start), start)
    if (count < at - start)
      throw new Error(`found ${count} bytes at ${start}, wanted ${at - start}: nothing to append to`)
  }
}

/** Copies bytes of several parts, one after the other. */
class PartsReader {
  restBytes = 0
  readonly #parts: readonly Buffer[]
  #part = 0
  #at = 0

  constructor(parts: readonly Buffer[]) {
    this.#parts = parts
    for (const part of parts) this.restBytes += part.length
  }

  /** Fills `target` from `at` on, as far as there are bytes. Answers how many it has copied. */
  copyTo(target: Buffer, at: number): number {
    let end = at
    while (end < target.length && this.#part < this.#parts.length) {
      const part = this.#parts[this.#part]!
      const count = part.copy(target, end, this.#at)
      end += count
      this.#at += count
      if (this.#at < part.length) break
      this.#part++
      this.#at = 0
    }
    this.restBytes -= end - at
    return end - at
  }
}

async function writeAll(descriptor: number, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const count = await writeSome(descriptor, bytes, done, position)
    // Of a write cut short only whole blocks count: the next one must begin with one.
    const blocks = count - (count % appendBlockBytes)
    if (blocks === 0) throw new Error(`the kernel took ${count} of ${bytes.length - done} bytes`)
    done += blocks
  }
}

function writeSome(descriptor: number, bytes: Buffer, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(descriptor, bytes, at, bytes.length - at, position + at, (error, count) =>
      error ? reject(error) : resolve(count),
    )
  })
}
