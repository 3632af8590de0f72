/**
 * Rot: what time does to a disk. Bits flip in what was proven durable, and pages cannot be read for a while. It knows which offsets that may
 * cost: a broker that reports others as damaged, or loses others, is wrong. What nothing proves durable is left alone: there damage cannot be
 * told from a torn write.
 * Neighbours: nemesis.ts lets it strike, session.ts asks whether a report is lawful, simulation.ts what verify has to find.
 */
import { basename, dirname } from 'node:path'
import { readCheckpoint } from '../../storage/recovery-checkpoint.ts'
import { logPrefix } from '../../storage/index-keys.ts'
import {
  decodeSegmentHeader,
  FRAME_BYTES,
  frameBatchBytes,
  frameFloor,
  frameProblem,
  SEGMENT_HEADER_BYTES,
} from '../../storage/segment-format.ts'
import { baseOffset, nextOffset } from '../../protocol/record-batch.ts'
import type { SeededRandom } from '../storage/seeded-random.ts'
import type { Disk } from './disk.ts'
import type { SimulatedCache } from './simulated-cache.ts'

/** A frame of a segment, with its batch if it has one. */
interface FoundFrame {
  readonly position: number
  readonly endPosition: number
  /** Of its batch; both the offset that comes next when it has none. */
  readonly from: number
  readonly until: number
  readonly floor: number
}

interface LostRange {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly until: number
  /** For a while only: the broker may say so until its next start after that. */
  readonly isPassing: boolean
}

export interface RotOptions {
  readonly random: SeededRandom
  readonly disk: Disk
  readonly cache: SimulatedCache
  /** Of the files of topics. */
  readonly directory: string
  /** Bits of records flip in this one alone. */
  readonly topic: string
}

const pageBytes = 4096

/** What damage explains, for whoever judges what a broker says. */
export type DamageExcuse = Pick<Rot, 'keepsDerived' | 'mayRefuse' | 'explains' | 'explainsReport'>

/** On disks where nothing rots. */
export const noExcuse: DamageExcuse = {
  keepsDerived: true,
  mayRefuse: false,
  explains: () => false,
  explainsReport: () => false,
}

export class Rot {
  /**
   * What is derived from records that are lost cannot be derived again. With this, only records are lost whose versions and producers a
   * checkpoint has, and no checkpoint is: then versions and retries are judged as ever.
   */
  readonly keepsDerived: boolean
  /** Values of the cache cannot be read, and it has not been wiped since. */
  isCacheSpoilt = false
  /** What needed such values may have been refused: answers from before the wipe are on their way for a while. */
  mayRefuse = false
  /** What it did last, for the trace. */
  last = ''
  readonly #options: RotOptions
  #lost: LostRange[] = []
  /** Directories of partitions: a broker has started while pages of theirs could not be read, and what it derived then lacks what stands on them. */
  readonly #startedUnreadable = new Set<string>()
  /** Flips in records, named as in `#flipped`. */
  readonly #damaged = new Set<string>()
  /** Files that had pages which could not be read. */
  readonly #spoilt = new Set<string>()
  /** Bits that are not what they were, as file:position:bit, and what they are. */
  readonly #flipped = new Map<string, number>()

  constructor(options: RotOptions) {
    this.#options = options
    this.keepsDerived = options.random.below(2) === 0
  }

  get isClean(): boolean {
    return this.#lost.length === 0
  }

  /** Segments that verify has to find damage in: a bit of a record is wrong, and no write of the sector that was under way has put it right again. */
  get damagedFiles(): ReadonlySet<string> {
    const files = new Set<string>()
    for (const [flip, wrong] of this.#flipped) {
      const [path = '', position = '', bit = ''] = flip.split(':')
      const byte = this.#options.disk.inode(path).currentBytes[Number(position)] ?? 0
      if (this.#damaged.has(flip) && ((byte >> Number(bit)) & 1) === wrong) files.add(path)
    }
    return files
  }

  /** Files in which a bit is not what it was. */
  get flippedFiles(): Set<string> {
    return new Set([...this.#flipped.keys()].map((flip) => flip.slice(0, flip.indexOf(':'))))
  }

  /** Flips one bit of a record or of a frame. False when nothing is proven durable yet. */
  flipRecord(): boolean {
    const { random } = this.#options
    const found = this.#someFrame()
    if (found === undefined) return false
    const { path, frame } = found
    const position = frame.position + random.below(frame.endPosition - frame.position)
    this.#lose(path, frame, false)
    const flip = this.#flip(path, position)
    // A frame without a batch that is the last one may be taken for a torn write, or be made anew by a start.
    if (frame.until > frame.from) this.#damaged.add(flip)
    this.last += `, in ${JSON.stringify(frame)}`
    return true
  }

  /** Flips one bit of a sidecar: nothing is lost with it. */
  flipSidecar(): boolean {
    const { random, disk } = this.#options
    const paths = this.#files('.idx').filter((path) => disk.inode(path).durableSizeBytes > 0)
    if (paths.length === 0) return false
    const path = random.pick(paths)
    this.#flip(path, random.below(disk.inode(path).durableSizeBytes))
    return true
  }

  /** A page that cannot be read from now on, of a segment or a sidecar. */
  spoilPage(): boolean {
    const { random, disk } = this.#options
    const paths = random.below(4) === 0 ? this.#files('.idx') : this.#files('.log')
    if (paths.length === 0) return false
    const path = random.pick(paths)
    const inode = disk.inode(path)
    const page = random.below(Math.ceil(Math.max(1, this.#usedBytes(path)) / pageBytes))
    inode.badPages.add(page)
    this.#spoilt.add(path)
    this.last = `page ${page} of ${path}`
    return true
  }

  /** All pages can be read again. What the broker took for damage it forgets with its next start: call `passed` then. */
  healPages(): void {
    this.#losePages()
    for (const path of this.#files('')) this.#options.disk.inode(path).badPages.clear()
  }

  passed(): void {
    this.#spoilt.clear()
    this.mayRefuse = false
    this.#lost = this.#lost.filter(({ isPassing }) => !isPassing)
  }

  /** True if all of these offsets may be damaged: `until` is exclusive. */
  explains(topic: string, partition: number, from: number, until: number): boolean {
    this.#losePages()
    let at = from
    const ranges = this.#lost
      .filter((range) => range.topic === topic && range.partition === partition)
      .toSorted((a, b) => a.from - b.from)
    for (const range of ranges) if (range.from <= at) at = Math.max(at, range.until)
    return at >= until
  }

  /** True for what a broker may say of a partition's damage: of such offsets, or of a file, whatever its offsets. */
  explainsReport(topic: string, partition: number, text: string): boolean {
    const [, first, last] = /offsets (\d+) to (\d+):/.exec(text) ?? []
    if (first !== undefined) return this.explains(topic, partition, Number(first), Number(last) + 1)
    return [...this.#spoilt].some((path) => text.startsWith(path))
  }

  /** A broker starts, or has started, while pages cannot be read. */
  startedUnreadable(): void {
    for (const path of this.#spoilt) this.#startedUnreadable.add(dirname(path))
  }

  /** True if versions and retries in a partition cannot be judged: damage took what they are derived from. In others they are judged as ever. */
  losesDerived(partition: number): boolean {
    const isHere = (path: string) => partitionOf(path) === partition && this.#topicOf(path) === this.#options.topic
    return this.#files('.log').some((path) => isHere(path) && this.losesDerivedOf(path))
  }

  /** The same of the partition that a file belongs to. */
  losesDerivedOf(path: string): boolean {
    if (this.#startedUnreadable.has(dirname(path))) return true
    const [topic, partition] = [this.#topicOf(path), partitionOf(path)]
    const isHere = (range: LostRange) => range.topic === topic && range.partition === partition
    return !this.keepsDerived && this.#lost.some((range) => isHere(range) && !range.isPassing)
  }

  /** One value of the cache cannot be read any more. */
  spoilCache(): void {
    const { random, cache } = this.#options
    if (!cache.spoil((count) => random.below(count))) return
    this.isCacheSpoilt = true
    this.mayRefuse = true
  }

  /** As whoever is told that the cache must be wiped does. */
  wipeSpoiltCache(): void {
    if (this.isCacheSpoilt) this.#options.cache.cut(0)
    this.isCacheSpoilt = false
  }

  #flip(path: string, position: number): string {
    const bit = this.#options.random.below(8)
    const inode = this.#options.disk.inode(path)
    inode.flip(position, bit)
    const flip = `${path}:${position}:${bit}`
    if (!this.#flipped.delete(flip)) this.#flipped.set(flip, ((inode.currentBytes[position] ?? 0) >> bit) & 1)
    this.last = `flipped ${flip}`
    return flip
  }

  #lose(path: string, { from, until }: FoundFrame, isPassing: boolean): void {
    if (until > from)
      this.#lost.push({ topic: this.#topicOf(path), partition: partitionOf(path), from, until, isPassing })
  }

  /** What reads of bad pages may cost: every batch that lies on one, also those written since. */
  #losePages(): void {
    for (const path of this.#files('.log')) {
      const { badPages, currentBytes } = this.#options.disk.inode(path)
      if (badPages.size === 0) continue
      for (const frame of framesOf(currentBytes)) {
        const first = Math.floor(frame.position / pageBytes)
        const last = Math.floor((frame.endPosition - 1) / pageBytes)
        let isBad = false
        for (let page = first; page <= last; page++) isBad ||= badPages.has(page)
        if (isBad) this.#lose(path, frame, true)
      }
    }
  }

  /** Of the topic whose contents are judged. */
  #someFrame(): { path: string; frame: FoundFrame } | undefined {
    const { random, topic } = this.#options
    const candidates = this.#files('.log')
      .filter((path) => this.#topicOf(path) === topic)
      .map((path) => ({ path, frames: this.#provenFrames(path) }))
      .filter(({ frames }) => frames.length > 0)
    if (candidates.length === 0) return undefined
    const { path, frames } = random.pick(candidates)
    return { path, frame: random.pick(frames) }
  }

  /**
   * Frames that damage cannot be taken for a torn tail in: their batch is below a later floor, or all of the file is, because the next segment
   * has a batch on disk. A frame without a batch loses nothing, but may be all that proves that damage before it is none of a torn write: it is left alone then.
   */
  #provenFrames(path: string): FoundFrame[] {
    const { disk, cache } = this.#options
    const frames = framesOf(disk.inode(path).durableBytes)
    const floor = this.#floorOf(path)
    const isFlipped = this.flippedFiles.has(path)
    const prefix = logPrefix(topicIdOf(path), partitionOf(path))
    const savedTo = this.keepsDerived ? (readCheckpoint(cache.look(), prefix)?.facts.nextOffset ?? 0) : Infinity
    const isProven = ({ from, until }: FoundFrame) => (until > from ? until <= Math.min(floor, savedTo) : !isFlipped)
    return frames.filter(isProven)
  }

  /** What is surely taken for durable in a segment. */
  #floorOf(path: string): number {
    const framesDurable = (file: string) => framesOf(this.#options.disk.inode(file).durableBytes)
    const next = this.#files('.log').find((other) => dirname(other) === dirname(path) && other > path)
    if (next !== undefined && framesDurable(next).some(({ from, until }) => until > from)) return Infinity
    return Math.max(-1, ...framesDurable(path).map(({ floor }) => floor))
  }

  /** The name that topic.json says, beside the directories of the partitions. */
  #topicOf(path: string): string {
    const bytes = this.#options.disk.inode(`${dirname(dirname(path))}/topic.json`).currentBytes
    return (JSON.parse(bytes.toString('utf8')) as { readonly name: string }).name
  }

  #usedBytes(path: string): number {
    const { currentBytes } = this.#options.disk.inode(path)
    return path.endsWith('.log') ? (framesOf(currentBytes).at(-1)?.endPosition ?? 0) : currentBytes.length
  }

  #files(suffix: string): string[] {
    const { disk, directory } = this.#options
    if (disk.find(directory) === undefined) return []
    return disk.files(directory).filter((path) => path.endsWith(suffix))
  }
}

/** …/topic id/partition/base offset.log */
function partitionOf(path: string): number {
  return Number(basename(dirname(path)))
}

function topicIdOf(path: string): Buffer {
  return Buffer.from(basename(dirname(dirname(path))).replaceAll('-', ''), 'hex')
}

/** The frames of a segment from its beginning; what was flipped before is passed over. */
function framesOf(bytes: Buffer): FoundFrame[] {
  const header = bytes.length < SEGMENT_HEADER_BYTES ? undefined : decodeSegmentHeader(bytes, 'simulated')
  if (header === undefined) return []
  const frames: FoundFrame[] = []
  let offset = header.baseOffset
  for (let at = SEGMENT_HEADER_BYTES; at + FRAME_BYTES <= bytes.length; ) {
    if (frameProblem(bytes, at, bytes.length, header.salt) !== undefined) {
      at = bytes.indexOf(header.salt, at + 9) - 8
      if (at < 0) break
      continue
    }
    const endPosition = at + FRAME_BYTES + frameBatchBytes(bytes, at)
    const isEmpty = frameBatchBytes(bytes, at) === 0
    if (endPosition > bytes.length) break
    const from = isEmpty ? offset : baseOffset(bytes, at + FRAME_BYTES)
    if (from < offset) break // of an earlier life of the file
    const until = isEmpty ? offset : nextOffset(bytes, at + FRAME_BYTES)
    frames.push({ position: at, endPosition, from, until, floor: frameFloor(bytes, at) })
    offset = until
    at = endPosition
  }
  return frames
}
