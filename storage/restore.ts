/**
 * Restore: a backup becomes a data directory, as it was when the backup was taken or as it was at a moment before (`atMs`): then each log is cut behind its
 * last batch that was appended by that moment, and topics made later are left out. Topics deleted before the backup do not come back.
 * Invariants: everything is built and checked beside the place it goes to, and gets its name in one step at the end; nothing that is there is
 * touched; a file that is not what the manifest says ends it.
 * Neighbours: backup.ts made what is read here.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { baseOffset } from '../protocol/record-batch.ts'
import { parseUuid } from '../protocol/uuid.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { checkEmpty } from './backup.ts'
import { damagedBackup, readManifest } from './backup-manifest.ts'
import type { BackupFile } from './backup-manifest.ts'
import { readBrokerFacts } from './data-directory.ts'
import { copyFile } from './file-copy.ts'
import { findHeads } from './heads.ts'
import { scanFile } from './log-copy.ts'
import { logFactsFile, readLogFacts } from './log-facts.ts'
import { baseOffsetOfFile, sidecarFileName } from './segment-format.ts'
import { directoryOf, writeSmallFile } from './small-file.ts'
import { isZero } from './zero-bytes.ts'

const buildingSuffix = '.restoring'
const plainPath =
  /^(broker\.json|topics\/[0-9a-f-]{36}\/(topic\.json|\d{1,10}\/(\d{20}\.(log|idx|heads)|log\.json|leader-epochs\.json)))$/

export interface RestoreOptions {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly backup: string
  /** Not there yet, or empty. */
  readonly directory: string
  /** Undefined = all that is in the backup. */
  readonly atMs?: number | undefined
  readonly onBytes?: (bytes: number, total: number) => void
}

export interface RestoreResult {
  readonly topics: number
  readonly files: number
  readonly bytes: number
  /** Batches that were appended after the moment asked for, and are not in it. */
  readonly batchesCut: number
  readonly backupBegunAtMs: number
}

/** Throws targetNotEmpty, incompleteBackup, damagedBackup, unsupportedFormat, invalidArgument. */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  const { fileSystem, backup, directory, atMs } = options
  const building = `${directory}${buildingSuffix}`
  for (const place of [directory, building]) if (await fileSystem.exists(place)) await checkEmpty(fileSystem, place)
  const { facts, files } = await readManifest(fileSystem, backup)
  if (atMs !== undefined && atMs > facts.endedAtMs)
    throw new PlayheadError(
      'invalidArgument',
      `--at: found ${new Date(atMs).toISOString()}, wanted a time before the end of the backup, ${new Date(facts.endedAtMs).toISOString()}`,
    )
  const wanted = files.filter(({ path }) => atMs === undefined || topicTimeMs(path) <= atMs)
  try {
    const bytes = await copyAll(options, building, wanted)
    const batchesCut = atMs === undefined ? 0 : await cutLogs(options, building, wanted, atMs)
    await markUnclean(fileSystem, building)
    if (await fileSystem.exists(directory)) await fileSystem.removeDirectory(directory) // empty, as was checked
    await fileSystem.rename(building, directory)
    await fileSystem.syncDirectory(directoryOf(directory))
    const topics = new Set(wanted.flatMap(({ path }) => topicOf(path) ?? [])).size
    return { topics, files: wanted.length, bytes, batchesCut, backupBegunAtMs: facts.begunAtMs }
  } catch (error) {
    await fileSystem.removeDirectory(building).catch(() => undefined)
    throw error
  }
}

async function copyAll(
  { fileSystem, backup, onBytes }: RestoreOptions,
  building: string,
  files: readonly BackupFile[],
): Promise<number> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  let copiedBytes = 0
  await fileSystem.makeDirectory(`${building}/topics`)
  const directories = new Set<string>()
  for (const { path, bytes, sha256 } of files) {
    // A manifest from elsewhere must not write elsewhere.
    if (!plainPath.test(path))
      throw damagedBackup(`${backup}/files.ndjson`, `path ${JSON.stringify(path)}`, 'a file of a backup')
    const to = `${building}/${path}`
    directories.add(directoryOf(to))
    await fileSystem.makeDirectory(directoryOf(to))
    if (!(await fileSystem.exists(`${backup}/${path}`))) throw damagedBackup(`${backup}/${path}`, 'no file', 'it')
    const copied = await copyFile(fileSystem, `${backup}/${path}`, to, {
      onBytes: (read) => onBytes?.((copiedBytes += read), total),
    })
    if (copied.bytes !== bytes || copied.sha256 !== sha256)
      throw damagedBackup(
        `${backup}/${path}`,
        `${copied.bytes} bytes with SHA-256 ${copied.sha256}`,
        `${bytes} bytes with ${sha256}`,
      )
  }
  for (const directory of [...directories, `${building}/topics`, building]) await fileSystem.syncDirectory(directory)
  return total
}

async function cutLogs(
  options: RestoreOptions,
  building: string,
  files: readonly BackupFile[],
  atMs: number,
): Promise<number> {
  const logs = new Set(files.filter(({ path }) => path.endsWith('.log')).map(({ path }) => directoryOf(path)))
  let batchesCut = 0
  for (const log of logs) batchesCut += await cutLog(options, `${building}/${log}`, atMs)
  return batchesCut
}

/** Append times only grow along a log, so that a cut is one place. */
async function cutLog({ fileSystem, clock }: RestoreOptions, directory: string, atMs: number): Promise<number> {
  let batchesCut = 0
  let isCut = false
  let cutOffset: number | undefined
  const segments = (await fileSystem.list(directory)).filter((name) => baseOffsetOfFile(name) !== undefined)
  for (const name of segments) {
    const path = `${directory}/${name}`
    let cutPosition: number | undefined
    let batches = 0
    const end = await scanFile(fileSystem, clock, path, ({ appendTimeMs, position, bytes, batchStart, batchEnd }) => {
      if (batchEnd > batchStart && cutPosition === undefined && appendTimeMs > atMs) {
        cutPosition = position
        cutOffset ??= baseOffset(bytes.subarray(batchStart, batchEnd))
      }
      if (batchEnd > batchStart && (isCut || cutPosition !== undefined)) batches++
    })
    const isWhole =
      isCut || cutPosition !== undefined || (end !== undefined && (await endsThere(fileSystem, path, end.position)))
    if (!isWhole)
      throw new PlayheadError(
        'damagedData',
        `${path}: found ${end?.problem ?? 'no sound header'}, wanted sound frames, as its times decide where to cut; restore without --at`,
        { file: path },
      )
    batchesCut += batches
    if (!isCut && cutPosition === undefined) continue
    const sidecar = `${directory}/${sidecarFileName(baseOffsetOfFile(name) ?? 0)}`
    if (await fileSystem.exists(sidecar)) await fileSystem.remove(sidecar)
    // A header alone is a segment in which nothing stands yet.
    if (isCut) await fileSystem.remove(path)
    else await truncate(fileSystem, path, cutPosition ?? 0)
    isCut = true
  }
  if (cutOffset !== undefined) await checkKept(fileSystem, directory, cutOffset)
  await fileSystem.syncDirectory(directory)
  return batchesCut
}

/** What was removed from below an offset that the log had not reached then would be missing from how it was. */
async function checkKept(fileSystem: FileSystem, directory: string, cutOffset: number): Promise<void> {
  const { logStartOffset, compactedTo } = await readLogFacts(fileSystem, `${directory}/${logFactsFile}`)
  const heads = await findHeads(fileSystem, directory)
  const removedTo = Math.max(logStartOffset, compactedTo, ...heads.map(({ endOffset }) => endOffset))
  if (removedTo <= cutOffset) return
  throw new PlayheadError(
    'invalidArgument',
    `--at: found events of ${directory} removed by retention or compaction up to offset ${removedTo}, wanted a moment at which it had got so far (it stood at ${cutOffset}); name a later one, or restore without --at`,
    { offset: cutOffset, removedTo },
  )
}

/** Nothing but the zeros of space allocated ahead: what is damaged in the middle would hide frames, and their times. */
async function endsThere(fileSystem: FileSystem, path: string, position: number): Promise<boolean> {
  const file = await fileSystem.open(path, 'read')
  try {
    return await isZero(file, position, await file.sizeBytes())
  } finally {
    await file.close()
  }
}

async function truncate(fileSystem: FileSystem, path: string, sizeBytes: number): Promise<void> {
  const file = await fileSystem.open(path, 'write')
  try {
    await file.truncate(sizeBytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The cache is not there, and the run that wrote this did not stop. */
async function markUnclean(fileSystem: FileSystem, directory: string): Promise<void> {
  const facts = await readBrokerFacts(fileSystem, directory)
  if (facts === undefined) throw damagedBackup(`${directory}/broker.json`, 'no file', 'it')
  await writeSmallFile(fileSystem, `${directory}/broker.json`, { ...facts, cleanStop: false })
}

function topicOf(path: string): string | undefined {
  return /^topics\/([0-9a-f-]{36})\//.exec(path)?.[1]
}

/** When the topic was made, as its id says (UUIDv7). */
function topicTimeMs(path: string): number {
  const id = topicOf(path)
  return id === undefined ? 0 : parseUuid(id).readUIntBE(0, 6)
}
