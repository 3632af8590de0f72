/**
 * Upload notes: which upload in parts of a log is under way, on the local disk, so that the next process goes on with it instead of sending a segment
 * from its beginning. One per log, since its segments are sent one after the other.
 * Derived: a note that is lost or damaged costs an upload begun anew; what a resumed upload has sent is read back and compared like any other.
 * Neighbours: segment-upload.ts.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { readSmallFile, writeSmallFile } from '../small-file.ts'
import type { TierPlace } from './remote-file.ts'

export interface UploadNote {
  readonly baseOffset: number
  /** Of the sidecar's footer: a segment that was rewritten is another one. */
  readonly footerChecksum: number
  /** In the keys of its objects. */
  readonly id: string
  readonly key: string
  /** What the store knows the upload by. */
  readonly token: string
  readonly partBytes: number
}

export class UploadNotes {
  readonly #fileSystem: FileSystem
  readonly #directory: string

  constructor(fileSystem: FileSystem, directory: string) {
    this.#fileSystem = fileSystem
    this.#directory = directory
  }

  /** Undefined = nothing is under way. */
  async read(place: TierPlace): Promise<UploadNote | undefined> {
    try {
      const facts = await readSmallFile(this.#fileSystem, this.#path(place))
      if (facts === undefined) return undefined
      const { baseOffset, footerChecksum, id, key, token, partBytes } = facts
      return {
        baseOffset: Number(baseOffset),
        footerChecksum: Number(footerChecksum),
        id: String(id),
        key: String(key),
        token: String(token),
        partBytes: Number(partBytes),
      }
    } catch (error) {
      if (isPlayheadError(error, 'damagedData')) return undefined
      throw error
    }
  }

  async write(place: TierPlace, note: UploadNote): Promise<void> {
    await writeSmallFile(this.#fileSystem, this.#path(place), { ...note })
  }

  async remove(place: TierPlace): Promise<void> {
    if (await this.#fileSystem.exists(this.#path(place))) await this.#fileSystem.remove(this.#path(place))
  }

  #path({ topicId, partition }: TierPlace): string {
    return `${this.#directory}/upload-${topicId}-${partition}.json`
  }
}
