/**
 * LocalSegments: the segment files of one log on the local disk alone, whatever the tier has. Neighbours: those that send them and let them go.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { baseOffsetOfFile, segmentFileName, sidecarFileName } from '../segment-format.ts'
import { readFooter } from '../sidecar.ts'
import type { Footer } from '../sidecar-format.ts'

export class LocalSegments {
  readonly directory: string
  readonly #fileSystem: FileSystem

  /** `fileSystem`: the local disk alone. */
  constructor(fileSystem: FileSystem, directory: string) {
    this.#fileSystem = fileSystem
    this.directory = directory
  }

  /** Of everything that lies there. */
  async names(): Promise<string[]> {
    return (await this.#fileSystem.exists(this.directory)) ? this.#fileSystem.list(this.directory) : []
  }

  /** In order. */
  async bases(): Promise<number[]> {
    const bases: number[] = []
    for (const name of await this.names()) {
      const base = baseOffsetOfFile(name)
      if (base !== undefined) bases.push(base)
    }
    return bases.toSorted((a, b) => a - b)
  }

  /** Of its sidecar; undefined while there is none that holds. */
  async footer(baseOffset: number): Promise<Footer | undefined> {
    const footer = await readFooter(this.#fileSystem, `${this.directory}/${sidecarFileName(baseOffset)}`)
    return footer?.baseOffset === baseOffset ? footer : undefined
  }

  async sizeBytes(baseOffset: number): Promise<number> {
    const file = await this.#fileSystem.open(this.path(baseOffset), 'read')
    try {
      return await file.sizeBytes()
    } finally {
      await file.close()
    }
  }

  path(baseOffset: number): string {
    return `${this.directory}/${segmentFileName(baseOffset)}`
  }

  /**
   * `sidecarFirst`: for replicas, of which a sidecar alone would be taken for that of the tier's file; a segment without one is read once more at the next start. Else the
   * segment first: what the tier has is the same, its sidecar too, so that a segment alone would never get one of its own and not go.
   */
  async remove(baseOffset: number, { sidecarFirst }: { readonly sidecarFirst: boolean }): Promise<void> {
    const [segment, sidecar] = [segmentFileName(baseOffset), sidecarFileName(baseOffset)]
    for (const name of sidecarFirst ? [sidecar, segment] : [segment, sidecar]) {
      await this.#fileSystem.remove(`${this.directory}/${name}`)
      await this.#fileSystem.syncDirectory(this.directory) // not the second without the first
    }
  }
}
