/**
 * The manifest of a backup: what is in it and what it must hash to. A backup is a directory:
 *
 *   backup.json        format version, whose it is, when it was begun and ended, how many files; SHA-256 of files.ndjson. Written last:
 *                      without it the backup was not finished
 *   files.ndjson       {"path","bytes","sha256"} of each other file, one line each
 *   broker.json  topics/<id>/topic.json  topics/<id>/<partition>/<offset>.log|.idx      as in a data directory, less what is derived
 *
 * Neighbours: backup.ts writes it, restore.ts checks it.
 */
import { createHash } from 'node:crypto'
import { PlayheadError } from '../protocol/errors.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { readSmallFile, replaceFile, writeSmallFile } from './small-file.ts'

const backupFormatVersion = 1
const manifestFile = 'backup.json'
const listFile = 'files.ndjson'
/** More is not one of ours and is not read into memory. */
const listBytesMax = 256 * 1024 * 1024

export interface BackupFile {
  /** Below the backup's directory, with / between its parts. */
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

export interface BackupFacts {
  readonly clusterId: string
  /** Everything that was durable then is in it. */
  readonly begunAtMs: number
  readonly endedAtMs: number
}

export async function writeManifest(
  fileSystem: FileSystem,
  directory: string,
  facts: BackupFacts,
  files: readonly BackupFile[],
): Promise<void> {
  const list = Buffer.from(files.map((file) => `${JSON.stringify(file)}\n`).join(''))
  await replaceFile(fileSystem, `${directory}/${listFile}`, [list])
  const value = { format: backupFormatVersion, ...facts, files: files.length, listSha256: sha256(list) }
  await writeSmallFile(fileSystem, `${directory}/${manifestFile}`, value)
}

/** Throws incompleteBackup, damagedBackup or unsupportedFormat. */
export async function readManifest(
  fileSystem: FileSystem,
  directory: string,
): Promise<{ facts: BackupFacts; files: BackupFile[] }> {
  const path = `${directory}/${manifestFile}`
  const value = await readSmallFile(fileSystem, path).catch((error: unknown) => {
    throw damagedBackup(path, error instanceof Error ? error.message : String(error), 'what the backup wrote')
  })
  if (value === undefined)
    throw new PlayheadError(
      'incompleteBackup',
      `${directory}: found no backup.json, wanted one: it is no backup, or one that was not finished; take another`,
      { directory },
    )
  const { format, clusterId, begunAtMs, endedAtMs, listSha256 } = value
  if (typeof format === 'number' && format > backupFormatVersion)
    throw new PlayheadError(
      'unsupportedFormat',
      `${path}: found format version ${format}, wanted at most ${backupFormatVersion}; use the release that wrote it, or a newer one`,
      { file: path, format },
    )
  if (typeof clusterId !== 'string' || typeof begunAtMs !== 'number' || typeof endedAtMs !== 'number')
    throw damagedBackup(path, 'fields that are missing or of another kind', 'those that the backup wrote')
  const list = await readList(fileSystem, `${directory}/${listFile}`)
  if (sha256(list) !== listSha256)
    throw damagedBackup(`${directory}/${listFile}`, `SHA-256 ${sha256(list)}`, String(listSha256))
  const files = list
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as BackupFile)
  return { facts: { clusterId, begunAtMs, endedAtMs }, files }
}

export function damagedBackup(file: string, found: string, wanted: string): PlayheadError {
  return new PlayheadError('damagedBackup', `${file}: found ${found}, wanted ${wanted}; use another backup`, { file })
}

async function readList(fileSystem: FileSystem, path: string): Promise<Buffer> {
  if (!(await fileSystem.exists(path))) throw damagedBackup(path, 'no file', 'the list of files')
  const file = await fileSystem.open(path, 'read')
  try {
    const sizeBytes = await file.sizeBytes()
    if (sizeBytes > listBytesMax) throw damagedBackup(path, `${sizeBytes} bytes`, `at most ${listBytesMax}`)
    const bytes = Buffer.alloc(sizeBytes)
    return bytes.subarray(0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
