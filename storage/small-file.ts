/**
 * Small files: facts that are not the log (broker.json, topic.json). One JSON object with a checksum of its other fields, replaced as
 * temp + fdatasync + rename + fsync of the directory, so that a crash leaves the old file or the new one and never a part.
 * Neighbours: data-directory.ts and topic.ts.
 */
import { crc32c } from '../protocol/crc32c.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { FileSystem } from '../platform/file-system.ts'

export const temporarySuffix = '.tmp'

/** Few facts are this large; more is not one of ours and is not read into memory. */
const smallFileBytesMax = 1024 * 1024

export type JsonObject = Readonly<Record<string, unknown>>

/** Replaces the file. The directory must be there. */
export async function writeSmallFile(fileSystem: FileSystem, path: string, value: JsonObject): Promise<void> {
  await replaceFile(fileSystem, path, [encodeFacts(value)])
}

/** One JSON object with a checksum of its fields, which may not have one of that name. */
export function encodeFacts(value: JsonObject): Buffer {
  return Buffer.from(`${JSON.stringify({ ...value, checksum: checksumOf(value) }, null, 2)}\n`)
}

/** What encodeFacts was given. Throws damagedData naming `path` when it is not what was written. */
export function decodeFacts(bytes: Buffer, path: string): JsonObject {
  const value = parseObject(bytes)
  if (value === undefined) throw damagedFile(path, 'something that is not a JSON object', 'what Playhead wrote')
  const { checksum, ...rest } = value
  if (checksum !== checksumOf(rest)) throw damagedFile(path, `checksum ${String(checksum)}`, checksumOf(rest))
  return rest
}

/** temp + fdatasync + rename + fsync of the directory, for any content. */
export async function replaceFile(fileSystem: FileSystem, path: string, parts: readonly Buffer[]): Promise<void> {
  const temporaryPath = path + temporarySuffix
  if (await fileSystem.exists(temporaryPath)) await fileSystem.remove(temporaryPath)
  const file = await fileSystem.open(temporaryPath, 'create')
  try {
    await file.write(parts, 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await fileSystem.rename(temporaryPath, path)
  await fileSystem.syncDirectory(directoryOf(path))
}

/** All of the file, for any content that is known to be small. */
export async function bytesOfFile(fileSystem: FileSystem, path: string): Promise<Buffer> {
  const file = await fileSystem.open(path, 'read')
  try {
    const bytes = Buffer.allocUnsafeSlow(await file.sizeBytes())
    return bytes.subarray(0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
}

/** The object in the file; undefined when there is no file. Throws damagedData naming the file when it is not what was written. */
export async function readSmallFile(
  fileSystem: FileSystem,
  path: string,
  bytesMax = smallFileBytesMax,
): Promise<JsonObject | undefined> {
  if (!(await fileSystem.exists(path))) return undefined
  const file = await fileSystem.open(path, 'read')
  let bytes: Buffer
  try {
    const sizeBytes = await file.sizeBytes()
    if (sizeBytes > bytesMax) throw damagedFile(path, `${sizeBytes} bytes`, `at most ${bytesMax}`)
    bytes = Buffer.alloc(sizeBytes)
    bytes = bytes.subarray(0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
  return decodeFacts(bytes, path)
}

export function damagedFile(path: string, found: string, wanted: string): PlayheadError {
  const message = `${path}: found ${found}, wanted ${wanted}; restore the file from a copy of the data directory`
  return new PlayheadError('damagedData', message, { file: path })
}

function parseObject(bytes: Buffer): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function checksumOf(value: JsonObject): string {
  return crc32c(Buffer.from(JSON.stringify(value)))
    .toString(16)
    .padStart(8, '0')
}

export function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}
