/**
 * RemoteFile: a segment or a sidecar that is in the tier, as a File that can only be read. What a start reads of every file (its first bytes, a
 * sidecar's footer) stands in the manifest and costs no request. Who reads a segment in order has what comes next brought meanwhile, into the next
 * segment too.
 * Neighbours: TieredFileSystem opens it, TierBlocks brings the bytes.
 */
import type { File } from '../../platform/file-system.ts'
import { FOOTER_BYTES } from '../sidecar-format.ts'
import { tierBlockBytes } from './block-sums.ts'
import type { SummedObject } from './block-sums.ts'
import type { Pace, TierBlocks } from './tier-blocks.ts'
import { tierKeys } from './tier-manifest.ts'
import type { TierSegment } from './tier-manifest.ts'

/** Which log a segment is of. */
export interface TierPlace {
  readonly topicId: string
  readonly partition: number
}

/** Ends of reads that are remembered: so many may go through one segment at the same time. */
const endsMax = 16
/**
 * A read that begins this little before the end of another goes on with it: reads begin at an index entry, and of the one before, the last batches did not
 * fit into the answer.
 */
const overlapBytes = 1024 * 1024
/** Brought ahead of who reads in order; doubles from the smallest on while he goes on. */
const aheadBytesMin = 2 * 1024 * 1024
const aheadBytesMax = 16 * 1024 * 1024
/** A read from the first bytes of a segment on that is this long is taken for the beginning of one in order. */
const longReadBytes = 256 * 1024
/** Of an index, brought with its first bytes: what comes first in it is wanted together. */
const indexStartBytes = 2 * tierBlockBytes

/** A file of the tier: nothing to close, nothing to write. */
abstract class RemoteFile implements File {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  abstract read(target: Buffer, position: number): Promise<number>
  abstract sizeBytes(): Promise<number>

  close(): Promise<void> {
    return Promise.resolve()
  }

  write(): Promise<never> {
    return refuse(this.path)
  }
  append(): Promise<never> {
    return refuse(this.path)
  }
  sync(): Promise<never> {
    return refuse(this.path)
  }
  allocate(): Promise<never> {
    return refuse(this.path)
  }
  truncate(): Promise<never> {
    return refuse(this.path)
  }
}

export class RemoteSegment extends RemoteFile {
  readonly #blocks: TierBlocks
  readonly #place: TierPlace
  readonly #segment: TierSegment
  /** What comes after it, to be brought ahead. */
  readonly #next: () => RemoteSegment | undefined
  #object: Promise<SummedObject> | undefined
  readonly #ends: (Pace & { position: number })[] = []

  constructor(
    path: string,
    blocks: TierBlocks,
    place: TierPlace,
    segment: TierSegment,
    next: () => RemoteSegment | undefined,
  ) {
    super(path)
    this.#blocks = blocks
    this.#place = place
    this.#segment = segment
    this.#next = next
  }

  async read(target: Buffer, position: number): Promise<number> {
    const { head, footer } = this.#segment
    const end = Math.min(position + target.length, footer.segmentBytes)
    if (end <= position) return 0
    if (end <= head.length) return head.copy(target, 0, position, end)
    const object = await this.#summed()
    const isOrderly = this.#follow(object, position, end)
    await this.#blocks.read(object, position, target.subarray(0, end - position), isOrderly ? 'pass' : 'keep')
    return end - position
  }

  sizeBytes(): Promise<number> {
    return Promise.resolve(this.#segment.footer.segmentBytes)
  }

  /** Has its first bytes brought, for somebody who will go on here as he went on in the segment before. */
  begin(pace: Pace): void {
    this.#blocks.expect(this.#segment.id, pace)
    this.#summed().then(
      (object) => this.#blocks.ahead(object, 0, pace.broughtTo),
      () => undefined,
    )
  }

  /** Whether somebody reads on here where he ended; what he will want next is brought. */
  #follow(object: SummedObject, position: number, end: number): boolean {
    const at = this.#ends.findIndex((each) => position <= each.position && position >= each.position - overlapBytes)
    const isLong = end - position >= longReadBytes
    if (at < 0 && !isLong) return false
    const [known = this.#blocks.expected(this.#segment.id)] = at < 0 ? [] : this.#ends.splice(at, 1)
    const aheadBytes = Math.min(known === undefined ? aheadBytesMin : known.aheadBytes * 2, aheadBytesMax)
    const wanted = end + aheadBytes
    let broughtTo = known?.broughtTo ?? 0
    const leftBytes = object.sizeBytes - broughtTo
    // In few large requests, here and in the next segment: not a block at a time as the reader goes on.
    if (wanted - broughtTo >= (leftBytes > 0 ? Math.min(aheadBytes / 2, leftBytes) : aheadBytes / 2)) {
      if (broughtTo < object.sizeBytes) this.#blocks.ahead(object, Math.max(end, broughtTo), wanted)
      if (wanted > object.sizeBytes && broughtTo < wanted)
        this.#next()?.begin({ aheadBytes, broughtTo: wanted - object.sizeBytes })
      broughtTo = wanted
    }
    if (this.#ends.length >= endsMax) this.#ends.shift()
    this.#ends.push({ position: end, aheadBytes, broughtTo })
    return true
  }

  /** With the sums of its blocks, which stand at the beginning of its index. */
  #summed(): Promise<SummedObject> {
    this.#object ??= this.#readSums().catch((error: unknown) => {
      this.#object = undefined
      throw error
    })
    return this.#object
  }

  async #readSums(): Promise<SummedObject> {
    const { id, footer } = this.#segment
    const { topicId, partition } = this.#place
    const sums = Buffer.alloc(sumsBytes(footer.segmentBytes))
    await this.#blocks.read(indexObject(this.#place, this.#segment), 0, sums, 'keep')
    const key = tierKeys.segment(topicId, partition, footer.baseOffset, id)
    return { key, sizeBytes: footer.segmentBytes, sums }
  }
}

export class RemoteSidecar extends RemoteFile {
  readonly #blocks: TierBlocks
  readonly #object: SummedObject
  readonly #segment: TierSegment
  /** Where the sidecar begins in its object. */
  readonly #start: number

  constructor(path: string, blocks: TierBlocks, place: TierPlace, segment: TierSegment) {
    super(path)
    this.#blocks = blocks
    this.#segment = segment
    this.#object = indexObject(place, segment)
    this.#start = sumsBytes(segment.footer.segmentBytes)
  }

  async read(target: Buffer, position: number): Promise<number> {
    const { footer, footerBytes } = this.#segment
    const end = Math.min(position + target.length, footer.bodyBytes + FOOTER_BYTES)
    if (end <= position) return 0
    if (position >= footer.bodyBytes)
      return footerBytes.copy(target, 0, position - footer.bodyBytes, end - footer.bodyBytes)
    if (position < indexStartBytes) this.#blocks.beside(this.#object, 0, indexStartBytes)
    await this.#blocks.read(this.#object, this.#start + position, target.subarray(0, end - position), 'keep')
    return end - position
  }

  sizeBytes(): Promise<number> {
    return Promise.resolve(this.#segment.footer.bodyBytes + FOOTER_BYTES)
  }
}

/** Bytes of the sums of a segment's blocks, before the sidecar in the index object. */
export function sumsBytes(segmentBytes: number): number {
  return Math.ceil(segmentBytes / tierBlockBytes) * 4
}

export function indexObject({ topicId, partition }: TierPlace, { id, footer, indexSums }: TierSegment): SummedObject {
  const sizeBytes = sumsBytes(footer.segmentBytes) + footer.bodyBytes + FOOTER_BYTES
  return { key: tierKeys.index(topicId, partition, footer.baseOffset, id), sizeBytes, sums: indexSums }
}

function refuse(path: string): Promise<never> {
  return Promise.reject(new Error(`${path} is in the tier: it can only be read`))
}
