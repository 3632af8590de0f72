/**
 * LogFiles: the segment files of one log, for whoever keeps copies of them elsewhere: whether there is something new to send, a new segment begun so that
 * the one before can go, a file that has moved. Neighbours: Log has one; the tier's uploader asks it; SegmentChain has the segments.
 */
import type { PlayheadError } from '../protocol/errors.ts'
import type { SegmentChain } from './segment-chain.ts'
import type { SharedFiles } from './shared-files.ts'
import type { SegmentPool } from './segment-pool.ts'
import { recastSegment } from './segment-recast.ts'
import type { Recast, RecastSource } from './segment-recast.ts'
import { Segment } from './segment.ts'
import type { Footer } from './sidecar-format.ts'

export interface LogFilesOptions {
  readonly chain: SegmentChain
  readonly pool: SegmentPool
  /** Of the log, as of now. */
  readonly endOffset: () => number
  readonly source: RecastSource
  /** Why nothing is begun any more. */
  readonly refusal: () => PlayheadError | undefined
  readonly shared: SharedFiles
}

export class LogFiles {
  /** What another replica may take over. */
  readonly shared: SharedFiles
  readonly #options: LogFilesOptions

  constructor(options: LogFilesOptions) {
    this.#options = options
    this.shared = options.shared
  }

  /** When the first batch of the active segment was appended; undefined while it has none. */
  get activeSinceMs(): number | undefined {
    const { active } = this.#options.chain
    return active === undefined || active.batchCount === 0 ? undefined : active.firstAppendTimeMs
  }

  /** Where the newest segment begins; -1 = there is none. */
  get newestBaseOffset(): number {
    return this.#options.chain.segments.at(-1)?.baseOffset ?? -1
  }

  /** Seals the active segment, unless it has no batch. Throws diskFull, storageFailed, stopping. */
  async roll(): Promise<void> {
    const { chain, endOffset, refusal } = this.#options
    const closed = refusal()
    if (closed !== undefined) throw closed
    await chain.rollIf(() => true, endOffset)
  }

  /** Does the work while no file of a sealed segment is replaced or removed by anybody else. Throws stopping once the log closes. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#options.chain.fileTurns.with(() => {
      const closed = this.#options.refusal()
      return closed === undefined ? work() : Promise.reject(closed)
    })
  }

  /** Resolves when no file is being replaced or removed any more: the next log of the directory finds it as it is. */
  settled(): Promise<void> {
    return this.#options.chain.fileTurns.with(() => Promise.resolve())
  }

  /**
   * From now on the sealed segment is the file that the footer speaks of, with the same records in it, which `begin` has be the one that is opened. Resolves
   * when nobody reads the old one any more: it may go. False when the log has no such segment.
   */
  async exchange(footer: Footer, begin: () => void): Promise<boolean> {
    const { chain, pool } = this.#options
    const segment = chain.segments.find(({ baseOffset }) => baseOffset === footer.baseOffset)
    if (segment?.sealed !== true || segment.damaged || segment.nextOffset !== footer.nextOffset) return false
    const other = new Segment(segment.path, segment.baseOffset)
    other.takeFooter(footer)
    other.tombstoneMs = segment.tombstoneMs
    begin()
    chain.exchange(segment, other)
    await pool.close(segment)
    return true
  }

  /** Puts a part of a sealed segment into files elsewhere. False when no sealed segment has all of it. Throws damagedData, stopping. */
  async recast(recast: Recast): Promise<boolean> {
    const { chain, source, refusal } = this.#options
    const closed = refusal()
    if (closed !== undefined) throw closed
    const { baseOffset, nextOffset } = recast
    const segment = chain.segments.find((each) => each.baseOffset <= baseOffset && each.nextOffset >= nextOffset)
    if (segment?.sealed !== true || segment.damaged || segment.compaction > 0) return false
    return await recastSegment(source, segment, recast)
  }

  /** Of the last batch of the segment that ends there; undefined = none does. */
  leaderEpochOfSegmentTo(offset: number): number | undefined {
    return this.#options.chain.segments.find(({ nextOffset }) => nextOffset === offset)?.leaderEpoch
  }

  /** The file of a sealed segment has moved: reads under way end with the old one. */
  openAgain(baseOffset: number): void {
    const segment = this.#options.chain.segments.find((each) => each.baseOffset === baseOffset)
    if (segment?.sealed === true) this.#options.pool.openAgain(segment)
  }
}
