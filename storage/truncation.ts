/**
 * Truncation: cuts the end off a log that is closed, because its leader has something else there. Only a follower's log is ever cut, and never
 * below what it knows to be committed; the log is opened again behind it, and recovery finds a log that ends there.
 * Invariants: newest first, each step on disk before the next, so that what a crash leaves is a log that ends somewhere between; the checkpoint,
 * which would call the cut damage, is gone before the first byte.
 * Neighbours: TopicStore closes the log and opens it again; leader-epochs.ts forgets what began behind the cut when it is opened.
 */
import { isMissing } from '../platform/file-system.ts'
import type { File, FileSystem } from '../platform/file-system.ts'
import { nextOffset as nextOffsetOf } from '../protocol/record-batch.ts'
import { logPrefix } from './index-keys.ts'
import { dropCheckpoint } from './recovery-checkpoint.ts'
import { sidecarPath } from './sealing.ts'
import {
  baseOffsetOfFile,
  decodeSegmentHeader,
  FRAME_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentFileName,
} from './segment-format.ts'
import { scanSegment } from './segment-scan.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'

/** Records at and behind `offset` are gone afterwards, with their whole batch where `offset` is inside one. */
export async function truncateLog(context: StorageContext, identity: LogIdentity, offset: number): Promise<void> {
  const { fileSystem, checkpointStore } = context
  if (!(await fileSystem.exists(identity.directory))) return
  await dropCheckpoint(checkpointStore, logPrefix(identity.topicId, identity.partition))
  const names = await fileSystem.list(identity.directory)
  const bases = names.map(baseOffsetOfFile).filter((base) => base !== undefined)
  for (const base of bases.toReversed()) {
    await removeFile(fileSystem, identity, sidecarPath(identity, { baseOffset: base }))
    const path = `${identity.directory}/${segmentFileName(base)}`
    // One that begins there stays, without a batch: its leader's begins there too, and what is before it is whole.
    const isKept = base < offset || (base === offset && base !== bases[0])
    if (isKept && (await cutSegment(context, path, base, offset))) return
    await removeFile(fileSystem, identity, path)
  }
}

async function removeFile(fileSystem: FileSystem, { directory }: LogIdentity, path: string): Promise<void> {
  if (!(await fileSystem.exists(path))) return
  await fileSystem.remove(path)
  await fileSystem.syncDirectory(directory)
}

/** False when its file is not on this disk: nothing of it can be cut off, so all of it goes. */
async function cutSegment(context: StorageContext, path: string, baseOffset: number, offset: number): Promise<boolean> {
  const file = await openHere(context.fileSystem, path)
  if (file === undefined) return false
  try {
    const position = await positionOf(context, file, baseOffset, offset)
    if (position === undefined) return true
    await file.truncate(position)
    await file.sync()
    return true
  } finally {
    await file.close()
  }
}

async function openHere(fileSystem: FileSystem, path: string): Promise<File | undefined> {
  try {
    return await fileSystem.open(path, 'write')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Behind the last batch that ends at or before `offset`; undefined when nothing can be told from the file, which recovery will name. */
async function positionOf(
  { clock }: StorageContext,
  file: File,
  baseOffset: number,
  offset: number,
): Promise<number | undefined> {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  await file.read(header, 0)
  const salt = decodeSegmentHeader(header, file.path)?.salt
  if (salt === undefined) return undefined
  let end = SEGMENT_HEADER_BYTES
  const from = { position: SEGMENT_HEADER_BYTES, nextOffset: baseOffset, leaderEpoch: -1 }
  const scan = { file, salt, from, endPosition: await file.sizeBytes(), endOffset: offset, clock }
  await scanSegment(scan, ({ position, bytes, batchStart, batchEnd }) => {
    if (batchEnd > batchStart && nextOffsetOf(bytes, batchStart) > offset) return
    end = position + FRAME_BYTES + batchEnd - batchStart
  })
  return end
}
