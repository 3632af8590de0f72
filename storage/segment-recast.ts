/**
 * Segment recast: the records of a part of a sealed segment as a segment of their own elsewhere, under the salt that is wanted, with its sidecar. For a
 * tier that has what comes before in other bounds than this log, or under another salt: batches and their append times are the same, frames are not.
 * Invariant: the log itself is not touched.
 * Called by LogFiles; Sealing makes the sidecar.
 */
import { sleep } from '../platform/clock.ts'
import type { File } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { MiB } from '../protocol/limits.ts'
import { batchFactsAt } from './batch-facts.ts'
import { Sealing, sidecarPath } from './sealing.ts'
import { Segment } from './segment.ts'
import {
  encodeSegmentHeader,
  FRAME_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentFileName,
  writeFrame,
} from './segment-format.ts'
import { scanSegment } from './segment-scan.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import type { StreamIndex } from './stream-index.ts'

export interface RecastSource {
  readonly context: StorageContext
  readonly identity: LogIdentity
  /** Of the log. */
  readonly salt: Buffer
  readonly index: StreamIndex
}

export interface Recast {
  /** The first of a batch; so is the one behind the last. */
  readonly baseOffset: number
  readonly nextOffset: number
  readonly salt: Buffer
  /** Where the two files are put. */
  readonly directory: string
}

const sliceBytes = 1 * MiB
/** Between two looks whether the sidecar is there. */
const lookMs = 10

/** False when it gets no sidecar now. Throws damagedData when the segment has not all of it. */
export async function recastSegment(source: RecastSource, segment: Segment, recast: Recast): Promise<boolean> {
  const { context, identity, index } = source
  const { directory, salt } = recast
  await context.fileSystem.makeDirectory(directory)
  const path = `${directory}/${segmentFileName(recast.baseOffset)}`
  const made = new Segment(path, recast.baseOffset)
  const file = await context.fileSystem.open(path, 'create')
  try {
    await copyBatches(source, segment, recast, made, file)
    if (made.nextOffset !== recast.nextOffset) throw incomplete(segment.path, made.nextOffset, recast.nextOffset)
    made.file = file
    const sealing = new Sealing({ context, identity: { ...identity, directory }, salt, index })
    sealing.add({ segment: made, producers: Buffer.alloc(0), tables: undefined })
    while (sealing.count > 0) await sleep(context.clock, lookMs)
    return await context.fileSystem.exists(sidecarPath({ ...identity, directory }, made))
  } finally {
    await file.close()
  }
}

async function copyBatches(
  { context, identity: { topicId, partition }, salt: ownSalt }: RecastSource,
  segment: Segment,
  { baseOffset, nextOffset, salt }: Recast,
  made: Segment,
  target: File,
): Promise<void> {
  const header = encodeSegmentHeader({
    topicId,
    partition,
    baseOffset,
    salt,
    leaderEpoch: Math.max(0, segment.leaderEpoch),
  })
  let parts: Buffer[] = [header]
  let [position, bytesTaken] = [0, header.length]
  const write = async () => {
    await target.write(parts, position)
    position += bytesTaken
    parts = []
    bytesTaken = 0
  }
  const from = { position: SEGMENT_HEADER_BYTES, nextOffset: segment.baseOffset, leaderEpoch: -1 }
  const file = await context.fileSystem.open(segment.path, 'read')
  try {
    const scan = { file, salt: ownSalt, from, endPosition: segment.endPosition, endOffset: nextOffset, sliceBytes }
    await scanSegment({ ...scan, clock: context.clock }, ({ bytes, batchStart, batchEnd, appendTimeMs, floor }) => {
      if (batchEnd === batchStart) return undefined
      const facts = batchFactsAt(bytes, batchStart)
      if (facts.baseOffset < baseOffset || facts.nextOffset > nextOffset) return undefined
      const part = Buffer.from(bytes.subarray(batchStart - FRAME_BYTES, batchEnd))
      writeFrame(part, 0, salt, batchEnd - batchStart, appendTimeMs, floor)
      made.takeBatchAt(made.endPosition, facts, batchEnd - batchStart, appendTimeMs)
      parts.push(part)
      bytesTaken += part.length
      return bytesTaken < sliceBytes ? undefined : write()
    })
    if (parts.length > 0) await write()
  } finally {
    await file.close()
  }
}

function incomplete(path: string, found: number, wanted: number): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `${path}: found whole batches up to offset ${found}, wanted them up to ${wanted}: it is not sent to the tier and stays on the local disk; playhead verify says more`,
    { file: path },
  )
}
