/**
 * LogFiles: the segment files of one log, for whoever keeps copies of them elsewhere: whether there is something new to send, a new segment begun so that
 * the one before can go, a file that has moved. Neighbours: Log has one; the tier's uploader asks it; SegmentChain has the segments.
 */
import type { PlayheadError } from '../protocol/errors.ts'
import type { SegmentChain } from './segment-chain.ts'
import type { LogSnapshot, SharedFiles } from './shared-files.ts'
import type { SegmentPool } from './segment-pool.ts'

export interface LogFilesOptions {
  readonly chain: SegmentChain
  readonly pool: SegmentPool
  /** Of the log, as of now. */
  readonly endOffset: () => number
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

  /** What there is for a replica to take over, as of now. Throws as SharedFiles.snapshot does, and as `roll`. */
  snapshot(): Promise<LogSnapshot> {
    return this.shared.snapshot(() => this.roll())
  }

  /** Does the work while no file of a sealed segment is replaced or removed by anybody else. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#options.chain.fileTurns.with(work)
  }

  /** The file of a sealed segment has moved: reads under way end with the old one. */
  openAgain(baseOffset: number): void {
    const segment = this.#options.chain.segments.find((each) => each.baseOffset === baseOffset)
    if (segment?.sealed === true) this.#options.pool.openAgain(segment)
  }
}
