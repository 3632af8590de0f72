/**
 * Segment upload: sends one sealed segment and its sidecar under a fresh id, and reads all of it back. The bytes are compared with the checksums in
 * the sidecar's footer while they are read from the local disk, so that what has rotted there is not sent; what comes back is compared with the
 * sums of what was sent. Only then may a manifest name it.
 *   <base>-<id>.log   the segment file, byte for byte
 *   <base>-<id>.idx   the CRC-32C of each of its blocks (4 bytes each), then the sidecar, byte for byte
 * An upload in parts that the end of a process cuts off is gone on with by the next one, under the same id (UploadNotes).
 * An attempt that fails leaves objects that no manifest names: OrphanSearch removes them.
 * Neighbours: TierUploader calls it.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import type { File, FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { crc32c } from '../../protocol/crc32c.ts'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import { formatUuid, uuidV7 } from '../../protocol/uuid.ts'
import { FRAME_SCRATCH_BYTES, SEGMENT_HEADER_BYTES, segmentFileName, sidecarFileName } from '../segment-format.ts'
import { decodeFooter, FOOTER_BYTES } from '../sidecar-format.ts'
import type { Footer } from '../sidecar-format.ts'
import { blockSums, wrongBlock } from './block-sums.ts'
import type { SummedObject } from './block-sums.ts'
import { tierUnavailable } from './object-store.ts'
import type { ObjectStore, ObjectUpload, ResumedUpload } from './object-store.ts'
import type { RateLimit } from '../rate-limit.ts'
import { indexObject } from './remote-file.ts'
import type { TierPlace } from './remote-file.ts'
import { tierKeys } from './tier-manifest.ts'
import type { UploadNote, UploadNotes } from './upload-notes.ts'
import type { TierSegment } from './tier-manifest.ts'
import { Turns } from '../turns.ts'

export interface UploadContext {
  readonly store: ObjectStore
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  readonly rate: RateLimit
  readonly notes: UploadNotes
  /** Ends what is under way. */
  readonly signal: AbortSignal
}

/** A whole number of blocks. What is no longer than one part goes in one request. */
const partBytes = 8 * 1024 * 1024
const partsAtOnce = 4
const looksMax = 5
const lookMs = 25

/** Sends the sealed segment that begins at `baseOffset`. Throws damagedData, tierUnavailable, tierRefused. */
export async function sendSegment(
  context: UploadContext,
  place: TierPlace,
  directory: string,
  baseOffset: number,
): Promise<TierSegment> {
  const { fileSystem, notes } = context
  const sidecar = await wholeFile(fileSystem, `${directory}/${sidecarFileName(baseOffset)}`)
  const footerBytes = sidecar.subarray(-FOOTER_BYTES)
  const footer = decodeFooter(footerBytes)
  const path = `${directory}/${segmentFileName(baseOffset)}`
  if (footer === undefined || crc32c(sidecar.subarray(0, -FOOTER_BYTES)) !== footer.bodyChecksum)
    throw damaged(`${directory}/${sidecarFileName(baseOffset)}`, 'a checksum that does not hold')
  const { id, key, resumed, isThere } = await beginOrGoOn(context, place, footer)
  const begun = (token: string) => notes.write(place, { ...noteOf(footer), id, key, token })
  const { sums, head } = await sendFile(context, { key, resumed, isThere, begun }, path, footer)
  const index = Buffer.concat([sums, sidecar])
  const segment = { id, footer, footerBytes: Buffer.from(footerBytes), head, indexSums: blockSums(index) }
  const indexed = indexObject(place, segment)
  await sendBytes(context, indexed.key, index)
  try {
    await readBack(context, { key, sizeBytes: footer.segmentBytes, sums })
    await readBack(context, indexed)
  } finally {
    // Also when it is not what was sent: then the next attempt is a new one.
    if (footer.segmentBytes > partBytes) await notes.remove(place)
  }
  return segment
}

/** An attempt at a segment. */
interface Attempt {
  readonly key: string
  readonly resumed?: ResumedUpload | undefined
  /** All of it was sent before. */
  readonly isThere?: boolean
  /** Called with what another process can go on by. */
  readonly begun?: (token: string) => Promise<void>
}

/** A fresh id, or that of the upload which an earlier process, or an attempt that failed, has begun of the same segment. */
async function beginOrGoOn(
  context: UploadContext,
  place: TierPlace,
  footer: Footer,
): Promise<Attempt & { id: string }> {
  const { store, notes, random, clock } = context
  const { topicId, partition } = place
  const note = footer.segmentBytes > partBytes ? await notes.read(place) : undefined
  if (note !== undefined) {
    const { id, key, token } = note
    const resumed = await store.resumeUpload(key, token)
    const wanted = noteOf(footer)
    const isSame =
      note.baseOffset === wanted.baseOffset &&
      note.footerChecksum === wanted.footerChecksum &&
      note.partBytes === wanted.partBytes
    if (isSame && resumed !== undefined) return { id, key, resumed }
    if (isSame && (await store.sizeBytes(key)) === footer.segmentBytes) return { id, key, isThere: true }
    await resumed?.upload.abort()
    await notes.remove(place)
  }
  const id = formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
  return { id, key: tierKeys.segment(topicId, partition, footer.baseOffset, id) }
}

function noteOf({ baseOffset, checksum }: Footer): Pick<UploadNote, 'baseOffset' | 'footerChecksum' | 'partBytes'> {
  return { baseOffset, footerChecksum: checksum, partBytes }
}

async function sendFile(context: UploadContext, attempt: Attempt, path: string, footer: Footer) {
  const file = await context.fileSystem.open(path, 'read')
  try {
    const { segmentBytes } = footer
    const sizeBytes = await file.sizeBytes()
    if (sizeBytes !== segmentBytes) throw damaged(path, `${sizeBytes} bytes where its sidecar says ${segmentBytes}`)
    const sums: Buffer[] = []
    let checksum = 0
    let head: Buffer = Buffer.alloc(0)
    await sendParts(context, attempt, segmentBytes, async (position, target) => {
      await readWhole(file, target, position)
      if (position === 0) head = Buffer.from(target.subarray(0, SEGMENT_HEADER_BYTES + FRAME_SCRATCH_BYTES))
      checksum = crc32c(target, checksum)
      sums.push(blockSums(target))
      if (position + target.length === segmentBytes && checksum !== footer.segmentChecksum)
        throw damaged(path, `checksum ${checksum} where its sidecar says ${footer.segmentChecksum}`)
    })
    return { sums: Buffer.concat(sums), head }
  } finally {
    await file.close()
  }
}

function sendBytes(context: UploadContext, key: string, bytes: Buffer): Promise<void> {
  return sendParts(context, { key }, bytes.length, (position, target) => {
    bytes.copy(target, 0, position)
    return Promise.resolve()
  })
}

/** `fill` is called for one part after the other, also for those that are there; the parts are sent side by side. */
async function sendParts(
  { store, rate, signal }: UploadContext,
  { key, resumed, isThere, begun }: Attempt,
  sizeBytes: number,
  fill: (position: number, target: Buffer) => Promise<void>,
): Promise<void> {
  if (sizeBytes <= partBytes) {
    const bytes = Buffer.allocUnsafeSlow(sizeBytes)
    await fill(0, bytes)
    await rate.take(sizeBytes, signal)
    return store.put(key, bytes)
  }
  const upload = isThere === true ? nothingToSend : (resumed?.upload ?? (await store.beginUpload(key)))
  if (resumed === undefined && upload.token !== undefined) await begun?.(upload.token)
  try {
    const sending: Promise<void>[] = []
    const turns = new Turns(partsAtOnce)
    let number = 0
    for (let position = 0; position < sizeBytes; position += partBytes) {
      signal.throwIfAborted()
      const bytes = Buffer.allocUnsafeSlow(Math.min(partBytes, sizeBytes - position))
      await fill(position, bytes)
      const part = ++number
      if (isThere === true || resumed?.parts.get(part) === bytes.length) continue
      await rate.take(bytes.length, signal)
      const sent = turns.with(() => upload.part(part, bytes))
      sent.catch(() => undefined) // all are waited for below, and the first that fails is heard there
      sending.push(sent)
      if (sending.length > partsAtOnce) await sending[sending.length - partsAtOnce - 1]
    }
    await Promise.all(sending)
    await upload.complete()
  } catch (error) {
    // What can be gone on with stays: the next attempt, or the next process, does.
    const isResumable = begun !== undefined && upload.token !== undefined
    const isCutOff = signal.aborted || isPlayheadError(error, 'tierUnavailable')
    if (!isResumable || !isCutOff) await upload.abort().catch(() => undefined) // else the store's own rules remove it
    throw error
  }
}

/** Of an object that is there: what it should be is only read. */
const nothingToSend: ObjectUpload = {
  token: undefined,
  part: () => Promise.resolve(),
  complete: () => Promise.resolve(),
  abort: () => Promise.resolve(),
}

/** Reads the object again, all of it; answers its size. Throws tierUnavailable when it is not what was sent. */
export async function readBack(context: ReadContext, object: SummedObject): Promise<number> {
  const { store, signal } = context
  await persist(context, async () => {
    const sizeBytes = await store.sizeBytes(object.key)
    return sizeBytes === object.sizeBytes
      ? undefined
      : `${object.key} with ${sizeBytes ?? 'no'} bytes of ${object.sizeBytes} after it was sent`
  })
  const turns = new Turns(partsAtOnce)
  const reading: Promise<void>[] = []
  for (let position = 0; position < object.sizeBytes; position += partBytes)
    reading.push(
      turns.with(async () => {
        signal.throwIfAborted()
        const bytes = Buffer.allocUnsafeSlow(Math.min(partBytes, object.sizeBytes - position))
        await persist(context, async () => {
          const count = await store.read(object.key, position, bytes)
          const wrong = count === bytes.length ? wrongBlock(object, position, bytes) : position
          return wrong < 0 ? undefined : `other bytes in ${object.key} at ${wrong} than those that were sent`
        })
      }),
    )
  const results = await Promise.allSettled(reading)
  for (const result of results) if (result.status === 'rejected') throw result.reason
  return object.sizeBytes
}

/** Looks again while there is a problem: a store may show late what it has, and a network may change what it carries. */
async function persist({ store, clock }: ReadContext, look: () => Promise<string | undefined>): Promise<void> {
  let problem = await look()
  for (let again = 1; problem !== undefined && again < looksMax; again++) {
    await sleep(clock, lookMs * 2 ** again)
    problem = await look()
  }
  if (problem !== undefined) throw tierUnavailable(store.location, problem)
}

export interface ReadContext {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly signal: AbortSignal
}

async function wholeFile(fileSystem: FileSystem, path: string): Promise<Buffer> {
  const file = await fileSystem.open(path, 'read')
  try {
    const bytes = Buffer.allocUnsafeSlow(await file.sizeBytes())
    if (bytes.length < FOOTER_BYTES) throw damaged(path, `${bytes.length} bytes`)
    await readWhole(file, bytes, 0)
    return bytes
  } finally {
    await file.close()
  }
}

async function readWhole(file: File, target: Buffer, position: number): Promise<void> {
  const count = await file.read(target, position)
  if (count < target.length) throw damaged(file.path, `its end at ${position + count}`)
}

function damaged(path: string, found: string): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `${path}: found ${found}, wanted what was written: it is not sent to the tier and stays on the local disk; playhead verify says more`,
    { file: path },
  )
}
