/**
 * LeaderEpochs: which leader epochs a replica of a log has seen and where each begins, kept beside the segments. A follower that comes back, or
 * one that was leader, finds with it where its log and the new leader's part ways; and no epoch is served before it is written down, so that
 * who has promised to follow a new leader cannot forget it.
 * Invariants: epochs and their starts only rise; `latest` never goes back, whatever is cut off.
 *
 *   topics/<topic id>/<partition>/leader-epochs.json   {"latest": 7, "starts": [[3, 0], [7, 120]]}   epoch, first offset
 *
 * Neighbours: Log owns it; replication asks for `endOf` and begins epochs.
 */
import type { FileSystem } from '../platform/file-system.ts'
import { directoryOf, damagedFile, readSmallFile, writeSmallFile } from './small-file.ts'

export const leaderEpochsFile = 'leader-epochs.json'

export interface EpochStart {
  readonly epoch: number
  /** Of its first record. */
  readonly startOffset: number
}

/** Where an epoch ends in a log. */
export interface EpochEnd {
  /** The largest one at or below the one asked for that the log has; -1 = none. */
  readonly epoch: number
  readonly endOffset: number
}

export class LeaderEpochs {
  readonly #fileSystem: FileSystem
  readonly #path: string
  #latest: number
  #starts: readonly EpochStart[]
  /** The last write; never rejects. */
  #writing: Promise<void> = Promise.resolve()

  private constructor(fileSystem: FileSystem, path: string, latest: number, starts: readonly EpochStart[]) {
    this.#fileSystem = fileSystem
    this.#path = path
    this.#latest = latest
    this.#starts = starts
  }

  /**
   * Throws damagedData. `endOffset`, `lastEpoch`: of the log as it was recovered. What the file says begins at or behind its end never came to be; and a
   * log that was written without the file is one epoch, as nobody else has any of it.
   */
  static async open(
    fileSystem: FileSystem,
    directory: string,
    { endOffset, lastEpoch }: { readonly endOffset: number; readonly lastEpoch: number },
  ): Promise<LeaderEpochs> {
    const path = `${directory}/${leaderEpochsFile}`
    const value = await readSmallFile(fileSystem, path)
    if (value === undefined) {
      const starts = lastEpoch < 0 ? [] : [{ epoch: lastEpoch, startOffset: 0 }]
      return new LeaderEpochs(fileSystem, path, lastEpoch, starts)
    }
    const { latest, starts } = value
    if (typeof latest !== 'number' || !Array.isArray(starts) || !starts.every(isStart))
      throw damagedFile(path, 'fields that are missing or of another kind', 'those that Playhead wrote')
    const kept = starts
      .map(([epoch, startOffset]) => ({ epoch, startOffset }))
      .filter(({ startOffset }) => startOffset < endOffset)
    const epochs = new LeaderEpochs(fileSystem, path, Math.max(latest, lastEpoch), kept)
    // Before the log grows: what it says about offsets that were cut off must not be taken for what comes in their place.
    if (kept.length < starts.length) await epochs.#write()
    return epochs
  }

  /** The highest epoch that this replica has followed or led in. */
  get latest(): number {
    return this.#latest
  }

  get starts(): readonly EpochStart[] {
    return this.#starts
  }

  /** Resolves when it is on disk that this replica takes part in `epoch`. False if it takes part in a later one already. */
  async accept(epoch: number): Promise<boolean> {
    if (epoch < this.#latest) return false
    if (epoch > this.#latest) {
      this.#latest = epoch
      await this.#write()
    } else await this.#writing
    return true
  }

  /** The first record of `epoch` will have this offset. Resolves when that is on disk; nothing is written in the epoch before. */
  async begin(epoch: number, startOffset: number): Promise<void> {
    const last = this.#starts.at(-1)
    if (last !== undefined && last.epoch >= epoch) return
    this.#latest = Math.max(this.#latest, epoch)
    // An epoch in which nothing was written leaves no trace: the next one begins where it would have.
    this.#starts = [...this.#starts.filter((each) => each.startOffset < startOffset), { epoch, startOffset }]
    await this.#write()
  }

  /**
   * The log ends at `endOffset`, and somebody else says what comes behind it: an epoch that this replica began there alone, and wrote nothing in, is not
   * what the next records are of. Resolves when that is on disk.
   */
  async endAt(endOffset: number): Promise<void> {
    const kept = this.#starts.filter(({ startOffset }) => startOffset < endOffset)
    if (kept.length === this.#starts.length) return
    this.#starts = kept
    await this.#write()
  }

  /** Where the records of `epoch`, and of those before it, end in a log that ends at `logEndOffset`. */
  endOf(epoch: number, logEndOffset: number): EpochEnd {
    const next = this.#starts.findIndex((each) => each.epoch > epoch)
    const known = next < 0 ? this.#starts.at(-1) : this.#starts[next - 1]
    const endOffset = next < 0 ? logEndOffset : this.#starts[next]!.startOffset
    return { epoch: known?.epoch ?? -1, endOffset }
  }

  /** One write after the other, each of what is known when it begins. */
  #write(): Promise<void> {
    const writing = this.#writing.then(() => this.#writeNow())
    this.#writing = writing.catch(() => undefined)
    return writing
  }

  async #writeNow(): Promise<void> {
    const directory = directoryOf(this.#path)
    await this.#fileSystem.makeDirectory(directory)
    await this.#fileSystem.syncDirectory(directoryOf(directory))
    await writeLeaderEpochs(this.#fileSystem, directory, { latest: this.#latest, starts: this.#starts })
  }
}

/** Of a log that is not open. */
export async function writeLeaderEpochs(
  fileSystem: FileSystem,
  directory: string,
  { latest, starts }: { readonly latest: number; readonly starts: readonly EpochStart[] },
): Promise<void> {
  const pairs = starts.map(({ epoch, startOffset }) => [epoch, startOffset])
  await writeSmallFile(fileSystem, `${directory}/${leaderEpochsFile}`, { latest, starts: pairs })
}

function isStart(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every((each) => Number.isSafeInteger(each) && each >= 0)
}
