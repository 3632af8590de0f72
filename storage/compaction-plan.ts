/**
 * CompactionPlan: which events of some segments stay when of each stream only the newest does. Read from the postings of their sidecars, side by
 * side in the order of the streams: no record is looked at. Memory: 12 bytes for each stream, and a block of postings for each segment.
 * Neighbours: Compaction makes one, SegmentRewriter follows it.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { grown } from './grown.ts'
import { compareKeys } from './key-order.ts'
import { MergeHeap } from './merge-heap.ts'
import { VarintReader } from './postings.ts'
import type { PostingsEntries } from './sidecar.ts'
import { Sidecar } from './sidecar.ts'

/** Streams looked at between two yields to the event loop. */
const streamsPerTurn = 2048

/** The events of one segment that stay. */
export class KeptEvents {
  readonly baseOffset: number
  /** All events with a stream that the segment has. */
  events = 0
  count = 0
  /** To the segment's base offset, in the order of the streams. */
  #offsets = new Uint32Array(64)
  #versions = new Float64Array(64)

  constructor(baseOffset: number) {
    this.baseOffset = baseOffset
  }

  add(offset: number, version: number): void {
    if (this.count === this.#offsets.length) {
      this.#offsets = grown(this.#offsets)
      this.#versions = grown(this.#versions)
    }
    this.#offsets[this.count] = offset - this.baseOffset
    this.#versions[this.count] = version
    this.count++
  }

  /** The version + 1 of the event that stays at each of the segment's offsets, 0 where none does. */
  byOffset(offsets: number): Float64Array {
    const versions = new Float64Array(offsets)
    for (let place = 0; place < this.count; place++) versions[this.#offsets[place]!] = this.#versions[place]! + 1
    return versions
  }
}

interface PlannedSegment {
  readonly baseOffset: number
  /** Of its sidecar. */
  readonly path: string
}

/** The streams of one sidecar, one after the other. */
class Line {
  entries!: PostingsEntries
  readonly kept: KeptEvents
  readonly order: number
  readonly #blocks: AsyncGenerator<PostingsEntries>

  constructor(sidecar: Sidecar, baseOffset: number, order: number) {
    this.kept = new KeptEvents(baseOffset)
    this.order = order
    this.#blocks = sidecar.blocks()
  }

  /** Moves to the first stream of the next block; false when there is none. */
  async nextBlock(): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.#blocks.next()
      if (done === true) return false
      this.entries = value
      if (value.next()) return true
    }
  }
}

/** What stays of each of the segments, in their order. `pause` is called now and then. Throws damagedData for a sidecar that does not hold. */
export async function planCompaction(
  { fileSystem, clock }: { readonly fileSystem: FileSystem; readonly clock: Clock },
  segments: readonly PlannedSegment[],
  pause: () => Promise<void>,
): Promise<KeptEvents[]> {
  const sidecars: Sidecar[] = []
  try {
    const lines: Line[] = []
    for (const [order, { path, baseOffset }] of segments.entries()) {
      const sidecar = await Sidecar.open(fileSystem, path)
      sidecars.push(sidecar)
      lines.push(new Line(sidecar, baseOffset, order))
    }
    const begun: Line[] = []
    for (const line of lines) if (await line.nextBlock()) begun.push(line)
    const heap = new MergeHeap(begun, comesBefore)
    let streams = 0
    for (let line = heap.first; line !== undefined; line = heap.first) {
      await takeStream(heap, line)
      if (++streams % streamsPerTurn === 0) await pause()
    }
    await clock.yield()
    return lines.map(({ kept }) => kept)
  } finally {
    for (const sidecar of sidecars) await sidecar[Symbol.asyncDispose]()
  }
}

/** Of the stream on which the first line stands, the newest event stays: the last one of the last line that has it. */
async function takeStream(heap: MergeHeap<Line>, first: Line): Promise<void> {
  const { bytes, nameStart, nameEnd } = first.entries
  let newest = first
  let [packed, at, end, version] = [bytes, 0, 0, 0]
  for (let line: Line | undefined = first; line !== undefined; line = heap.first) {
    const { entries } = line
    if (compareKeys(bytes, nameStart, nameEnd, entries.bytes, entries.nameStart, entries.nameEnd) !== 0) break
    line.kept.events += entries.count
    newest = line
    packed = entries.bytes
    at = entries.offsetsAt
    end = entries.offsetsEnd
    version = entries.firstVersion + entries.count - 1
    if (entries.next() || (await line.nextBlock())) heap.moved()
    else heap.drop()
  }
  newest.kept.add(lastOffset(packed, at, end), version)
}

/** The first offset is written whole, each further one as its distance from the one before. */
function lastOffset(packed: Buffer, at: number, end: number): number {
  const reader = new VarintReader(packed, at, end)
  let offset = 0
  while (!reader.isAtEnd) offset += reader.next()
  return offset
}

function comesBefore(line: Line, other: Line): boolean {
  const [a, b] = [line.entries, other.entries]
  const order = compareKeys(a.bytes, a.nameStart, a.nameEnd, b.bytes, b.nameStart, b.nameEnd)
  return order === 0 ? line.order < other.order : order < 0
}
