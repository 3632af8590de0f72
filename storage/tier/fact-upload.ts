/**
 * FactUpload: sends what a restored log needs beside its segments, as it changes: where it begins, last versions of streams that are gone.
 * Neighbours: those that send a log's segments have one each.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { crc32c } from '../../protocol/crc32c.ts'
import { leaderEpochsFile } from '../leader-epochs.ts'
import { bytesOfFile, temporarySuffix } from '../small-file.ts'
import type { LocalSegments } from './local-segments.ts'
import type { ObjectStore } from './object-store.ts'
import type { TierPlace } from './remote-file.ts'
import { tierKeys } from './tier-manifest.ts'

/** No fact beside the segments is larger. */
const factBytesMax = 64 * 1024 * 1024

export class FactUpload {
  readonly #fileSystem: FileSystem
  readonly #store: ObjectStore
  /** By file, a sum of what was sent. */
  readonly #sent = new Map<string, number>()

  constructor(fileSystem: FileSystem, store: ObjectStore) {
    this.#fileSystem = fileSystem
    this.#store = store
  }

  async send({ topicId, partition }: TierPlace, local: LocalSegments): Promise<void> {
    for (const name of await local.names()) {
      // A log that is restored is nobody's replica: who led when is said by its batches.
      if (/\.(log|idx)$/.test(name) || name.endsWith(temporarySuffix) || name === leaderEpochsFile) continue
      const path = `${local.directory}/${name}`
      const bytes = (await this.#fileSystem.exists(path)) ? await bytesOfFile(this.#fileSystem, path) : undefined
      if (bytes === undefined || bytes.length > factBytesMax) continue
      const sum = crc32c(bytes)
      if (this.#sent.get(name) === sum) continue
      await this.#store.put(`${tierKeys.log(topicId, partition)}facts/${name}`, bytes)
      this.#sent.set(name, sum)
    }
  }
}
