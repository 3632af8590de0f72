/**
 * DirectReader: reads of one file past the page cache (O_DIRECT): the disk fills our memory. No pages are found for it, which costs several times as much
 * processor time (docs/decisions/0050). Neighbour: NodeFile has one for each file that is read so.
 */
import fs from 'node:fs'
import { closeDescriptor, openIfPossible } from './descriptor.ts'

const { O_DIRECT, O_RDONLY } = fs.constants as { O_DIRECT?: number; O_RDONLY: number }

export class DirectReader {
  readonly #descriptor: number
  /** A direct read was refused, as by file systems that show only then that they cannot do it, or failed: the other way says why. */
  #refuses = false

  private constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /**
   * Of the file that is open as `descriptor`: by now its path may lead to another one, or nowhere. Undefined where it cannot be done: that descriptor can do
   * without.
   */
  static async open(descriptor: number): Promise<DirectReader | undefined> {
    if (O_DIRECT === undefined) return undefined
    const opened = await openIfPossible(`/proc/self/fd/${descriptor}`, O_RDONLY | O_DIRECT)
    return opened === undefined ? undefined : new DirectReader(opened)
  }

  /** The bytes read, fewer than asked for at the end of the file or where the kernel stopped short; undefined where that fails, from then on. */
  read(target: Buffer, position: number): Promise<number | undefined> {
    if (this.#refuses) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      fs.read(this.#descriptor, target, 0, target.length, position, (error, count) => {
        if (error) this.#refuses = true
        resolve(error ? undefined : count)
      })
    })
  }

  close(): Promise<void> {
    return closeDescriptor(this.#descriptor)
  }
}
