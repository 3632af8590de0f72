/**
 * DirectReader: reads of one file past the page cache (O_DIRECT): the disk fills our memory. Neither is anything copied nor are pages found for it, which
 * costs several times as much processor time (docs/decisions/0050). Neighbour: NodeFile has one for each file that is read so.
 */
import fs from 'node:fs'

const { O_DIRECT, O_RDONLY } = fs.constants as { O_DIRECT?: number; O_RDONLY: number }

export class DirectReader {
  readonly #descriptor: number
  /** The file system has refused a direct read: some show only then that they cannot do it, or want larger blocks. */
  #refuses = false

  private constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /**
   * Of the file that is open as `descriptor`: by now its path may lead to another one, or nowhere. Undefined where it cannot be done, whatever the reason:
   * that descriptor can do without.
   */
  static open(descriptor: number): Promise<DirectReader | undefined> {
    if (O_DIRECT === undefined) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      fs.open(`/proc/self/fd/${descriptor}`, O_RDONLY | O_DIRECT, (error, opened) =>
        resolve(error ? undefined : new DirectReader(opened)),
      )
    })
  }

  /** The bytes read, fewer than asked for at the end of the file or where the kernel stopped short; undefined where it is refused. */
  read(target: Buffer, position: number): Promise<number | undefined> {
    if (this.#refuses) return Promise.resolve(undefined)
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, target, 0, target.length, position, (error, count) => {
        if (!error) return resolve(count)
        if (error.code !== 'EINVAL') return reject(error)
        this.#refuses = true
        resolve(undefined)
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.close(this.#descriptor, (error) => (error ? reject(error) : resolve()))
    })
  }
}
