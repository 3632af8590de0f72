/**
 * Segment files: what lies in the directory of one log, before any of it is read through: which segments, whose, and which have a footer.
 * Removes what a crash left half made: temporary files, and a newest segment that was not finished when its maker died (nothing is written
 * into a segment before it is complete on disk).
 * Neighbours: recovery.ts starts from here.
 */
import { PlayheadError } from '../protocol/errors.ts'
import {
  baseOffsetOfFile,
  decodeSegmentHeader,
  FRAME_SALT,
  FRAME_SCRATCH_BYTES,
  frameProblem,
  SALT_BYTES,
  SEGMENT_HEADER_BYTES,
} from './segment-format.ts'
import { readFooter } from './sidecar.ts'
import type { Footer } from './sidecar-format.ts'
import { sidecarPath } from './sealing.ts'
import { temporarySuffix } from './small-file.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'
import { isUnreadable } from './unreadable.ts'
import { isZero } from './zero-bytes.ts'

export interface SegmentFile {
  readonly baseOffset: number
  readonly path: string
  readonly sizeBytes: number
  /** Of its sidecar, if that is sound and speaks of this very file. */
  readonly footer: Footer | undefined
  /** What the header says it is, when that is not the file of this name. */
  readonly foreign: string | undefined
  /** As the header says, else the footer. */
  readonly compaction: number
  readonly tombstoneMs: number
}

export interface SegmentFiles {
  /** In order of offsets. */
  readonly entries: readonly SegmentFile[]
  /** Undefined only when there is neither a segment nor proof of one. */
  readonly salt: Buffer | undefined
  /** Headers that are damaged, in words. */
  readonly damage: readonly string[]
}

interface OpenedFile {
  readonly baseOffset: number
  readonly path: string
  readonly sizeBytes: number
  readonly header: ReturnType<typeof decodeSegmentHeader>
  /** Of the header, else of the first frame if that is sound. */
  readonly salt: Buffer | undefined
  readonly empty: boolean
}

/** What a checkpoint proves: the log had this salt, and everything below this offset was durable. */
export interface ProvenLog {
  readonly salt: Buffer
  readonly nextOffset: number
}

export async function findSegmentFiles(
  context: StorageContext,
  identity: LogIdentity,
  proven: ProvenLog | undefined,
): Promise<SegmentFiles> {
  const { fileSystem } = context
  if (!(await fileSystem.exists(identity.directory))) return { entries: [], salt: proven?.salt, damage: [] }
  // A run that was killed may have made names and not have synced them; what is appended to such a file now is promised.
  await fileSystem.syncDirectory(identity.directory)
  const names = await fileSystem.list(identity.directory)
  for (const name of names) if (name.endsWith(temporarySuffix)) await fileSystem.remove(`${identity.directory}/${name}`)
  const opened: OpenedFile[] = []
  for (const name of names) {
    const baseOffset = baseOffsetOfFile(name)
    if (baseOffset !== undefined) opened.push(await look(context, `${identity.directory}/${name}`, baseOffset))
  }
  await removeUnborn(context, identity, opened, proven?.nextOffset ?? 0)
  const salt = opened.find((each) => each.salt !== undefined && !isForeign(each, identity))?.salt ?? proven?.salt
  if (opened.length > 0 && salt === undefined) throw unreadable(opened[0]?.path ?? identity.directory)
  const entries: SegmentFile[] = []
  const damage: string[] = []
  for (const each of opened) {
    const { baseOffset, path, sizeBytes, header } = each
    if (header === undefined) damage.push(`${path}: its header is damaged; what is behind it is checked by itself`)
    const foreign = foreignTo(each, identity, salt)
    const footer = foreign === undefined ? await footerOf(context, identity, each) : undefined
    const compaction = header?.compaction ?? footer?.compaction ?? 0
    entries.push({ baseOffset, path, sizeBytes, footer, foreign, compaction, tombstoneMs: header?.tombstoneMs ?? 0 })
  }
  return { entries, salt, damage }
}

async function look({ fileSystem }: StorageContext, path: string, baseOffset: number): Promise<OpenedFile> {
  const file = await fileSystem.open(path, 'read')
  try {
    const sizeBytes = await file.sizeBytes()
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES + FRAME_SCRATCH_BYTES)
    await file.read(bytes, 0)
    const header = decodeSegmentHeader(bytes, path)
    const salt = header?.salt ?? saltOfFrame(bytes, SEGMENT_HEADER_BYTES)
    const empty = header === undefined && (await isZero(file, SEGMENT_HEADER_BYTES, sizeBytes))
    return { baseOffset, path, sizeBytes, header, salt, empty }
  } catch (error) {
    if (!isUnreadable(error)) throw error
    return { baseOffset, path, sizeBytes: await file.sizeBytes(), header: undefined, salt: undefined, empty: false }
  } finally {
    await file.close()
  }
}

/** A frame's checksum covers its salt, so the first frame can stand in for a damaged header. */
function saltOfFrame(bytes: Buffer, at: number): Buffer | undefined {
  const salt = Buffer.from(bytes.subarray(at + FRAME_SALT, at + FRAME_SALT + SALT_BYTES))
  return frameProblem(bytes, at, bytes.length, salt) === undefined ? salt : undefined
}

/** Without a header and without a single byte behind it, a newest segment never took an append, unless there is proof that it did. */
async function removeUnborn(
  { fileSystem, report }: StorageContext,
  identity: LogIdentity,
  opened: OpenedFile[],
  provenOffset: number,
): Promise<void> {
  const last = opened.at(-1)
  if (last === undefined || last.header !== undefined || !last.empty || provenOffset > last.baseOffset) return
  report('info', `${last.path}: removed; it was being made when the broker ended`)
  await fileSystem.remove(last.path)
  await fileSystem.syncDirectory(identity.directory)
  opened.pop()
}

function isForeign({ header, baseOffset }: OpenedFile, identity: LogIdentity): boolean {
  if (header === undefined) return false
  return (
    !header.topicId.equals(identity.topicId) ||
    header.partition !== identity.partition ||
    header.baseOffset !== baseOffset
  )
}

function foreignTo(file: OpenedFile, identity: LogIdentity, salt: Buffer | undefined): string | undefined {
  const { header } = file
  if (header === undefined) return undefined
  if (isForeign(file, identity)) {
    return `topic ${header.topicId.toString('hex')}, partition ${header.partition}, offsets from ${header.baseOffset}`
  }
  return salt !== undefined && header.salt.equals(salt) ? undefined : 'another log of the same name'
}

async function footerOf(
  { fileSystem }: StorageContext,
  identity: LogIdentity,
  { baseOffset, sizeBytes, header }: OpenedFile,
): Promise<Footer | undefined> {
  const footer = await readFooter(fileSystem, sidecarPath(identity, { baseOffset }))
  if (footer === undefined || !footer.topicId.equals(identity.topicId) || footer.partition !== identity.partition)
    return undefined
  if (footer.compaction !== (header?.compaction ?? footer.compaction)) return undefined
  return footer.baseOffset === baseOffset && footer.segmentBytes === sizeBytes ? footer : undefined
}

function unreadable(path: string): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `${path}: found no sound header and no sound first frame, wanted a segment; restore the file from a copy`,
    {
      file: path,
    },
  )
}
