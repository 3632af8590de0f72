/**
 * SegmentPool: which segments are open, over all logs of a broker. A reader holds its segment open by a pin; the sealed one unused for the
 * longest is closed, with its indexes, when more are open than the limit. Active segments are kept open until their log lets them go.
 * Invariant: a pinned segment has its file and its indexes, and no file is closed under a reader.
 * Neighbours: SegmentReader takes pins, SegmentChain keeps the active segment.
 */
import assert from 'node:assert/strict'
import type { File, FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { Segment, SegmentIndexes } from './segment.ts'

interface OpenSegment {
  pins: number
  /** Rises with each pin of any segment. */
  pinnedAt: number
  /** Resolves when file and indexes are there. */
  readonly opened: Promise<void>
  /** Called when the last pin goes, once somebody waits to close. */
  unpinned: (() => void) | undefined
  /** To be closed when the last pin goes, and opened again by the next: its path leads elsewhere now. */
  stale: boolean
}

export interface PinnedSegment {
  readonly file: File
  readonly indexes: SegmentIndexes
  /** To be called once. */
  release(): void
}

/** The segment has left the log since it was looked up: whoever meets this looks again. */
export class SegmentGone extends Error {
  constructor(path: string) {
    super(`${path} is not part of its log any more`)
  }
}

export type LoadIndexes = (segment: Segment, file: File) => Promise<SegmentIndexes>

export class SegmentPool {
  readonly #fileSystem: FileSystem
  readonly #openMax: number
  readonly #kept = new Map<Segment, OpenSegment>()
  readonly #open = new Map<Segment, OpenSegment>()
  #pinnedLast = 0

  constructor(fileSystem: FileSystem, openMax: number) {
    this.#fileSystem = fileSystem
    this.#openMax = openMax
  }

  get openCount(): number {
    return this.#open.size + this.#kept.size
  }

  /** From now on the segment, which has its file open, is not closed but by `close`. */
  keep(segment: Segment): void {
    assert(segment.file !== undefined && segment.indexes !== undefined)
    this.#kept.set(segment, { pins: 0, pinnedAt: 0, opened: Promise.resolve(), unpinned: undefined, stale: false })
  }

  /** From now on the segment is one of those that may be closed when others are wanted. */
  letGo(segment: Segment): void {
    const open = this.#kept.get(segment)
    if (open === undefined) return
    this.#kept.delete(segment)
    open.pinnedAt = ++this.#pinnedLast // what was appended last is asked for soon
    this.#open.set(segment, open)
    this.#closeUnused()
  }

  /** The segment with its file and indexes, until released. `load` is called when its indexes are not in memory. Throws SegmentGone. */
  async pin(segment: Segment, load: LoadIndexes): Promise<PinnedSegment> {
    if (segment.gone) throw new SegmentGone(segment.path)
    let open = this.#kept.get(segment) ?? this.#open.get(segment)
    if (open === undefined) {
      open = { pins: 0, pinnedAt: 0, opened: this.#openSegment(segment, load), unpinned: undefined, stale: false }
      this.#open.set(segment, open)
    }
    this.#count(open)
    try {
      await open.opened
      return this.#pinned(segment, open)
    } catch (error) {
      open.pins--
      if (this.#open.get(segment) === open) this.#open.delete(segment)
      throw error
    }
  }

  /** The same where nothing is to be waited for; else undefined. */
  pinNow(segment: Segment): PinnedSegment | undefined {
    const open = this.#kept.get(segment) ?? this.#open.get(segment)
    if (open === undefined || segment.gone || segment.file === undefined || segment.indexes === undefined)
      return undefined
    this.#count(open)
    return this.#pinned(segment, open)
  }

  #count(open: OpenSegment): void {
    open.pins++
    open.pinnedAt = ++this.#pinnedLast
  }

  #pinned(segment: Segment, open: OpenSegment): PinnedSegment {
    const { file, indexes } = segment
    if (file === undefined || indexes === undefined) throw new Error(`${segment.path} is not open`)
    return { file, indexes, release: () => this.#release(segment, open) }
  }

  /** The file at the segment's path is another one with the same bytes: whoever pins the segment once nobody has it pinned opens that one. */
  openAgain(segment: Segment): void {
    const open = this.#open.get(segment)
    if (open === undefined) return
    open.stale = true
    open.pins++ // as a reader who is done when the file is open
    open.opened.then(
      () => this.#release(segment, open),
      () => undefined,
    )
  }

  /** Closes the segment when its last reader is done. Nobody may pin it any more. */
  async close(segment: Segment): Promise<void> {
    const open = this.#kept.get(segment) ?? this.#open.get(segment)
    if (open === undefined) return
    await open.opened.catch(() => undefined)
    if (open.pins > 0) await new Promise<void>((resolve) => (open.unpinned = resolve))
    this.#kept.delete(segment)
    this.#open.delete(segment)
    await this.#closeSegment(segment)
  }

  #release(segment: Segment, open: OpenSegment): void {
    assert(open.pins > 0)
    open.pins--
    if (open.pins > 0) return
    open.unpinned?.()
    if (open.stale && this.#open.get(segment) === open) this.#closeSegment(segment).catch(() => undefined)
    this.#closeUnused()
  }

  #closeUnused(): void {
    if (this.#open.size <= this.#openMax) return
    // Looked for when one is to be closed: keeping them in order would cost every pin of every read.
    let oldest: { readonly segment: Segment; readonly pinnedAt: number } | undefined
    for (const [segment, { pins, pinnedAt }] of this.#open) {
      if (pins === 0 && pinnedAt < (oldest?.pinnedAt ?? Infinity)) oldest = { segment, pinnedAt }
    }
    if (oldest !== undefined) this.#closeSegment(oldest.segment).catch(() => undefined) // all its bytes were synced: nothing can be lost
  }

  async #openSegment(segment: Segment, load: LoadIndexes): Promise<void> {
    const file = await this.#fileSystem.open(segment.path, 'read').catch((error: unknown) => {
      throw segment.gone ? new SegmentGone(segment.path) : cannotOpen(segment.path, error)
    })
    try {
      const indexes = segment.indexes ?? (await load(segment, file))
      // What was opened, or read beside it, may be what has taken its place.
      if (segment.gone) throw new SegmentGone(segment.path)
      segment.indexes = indexes
      segment.file = file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async #closeSegment(segment: Segment): Promise<void> {
    const file = segment.file
    this.#open.delete(segment)
    segment.file = undefined
    if (!segment.damaged) segment.indexes = undefined // a damaged one has no sidecar to read them from again
    await file?.close()
  }
}

/**
 * The machine's refusal, by name. Nothing is known of the bytes, so it is no damage: the next read tries again. Descriptors that are all taken
 * come back when somebody closes some.
 */
function cannotOpen(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  const isShort = error.code === 'EMFILE' || error.code === 'ENFILE'
  return new PlayheadError(
    isShort ? 'overloaded' : 'storageFailed',
    `${path}: found that it cannot be opened (${error.message}), wanted to read it; ${isShort ? 'raise the limit on open files (ulimit -n), or lower openSegmentsMax and connectionsMax' : 'look at the disk'}`,
    { file: path },
  )
}
