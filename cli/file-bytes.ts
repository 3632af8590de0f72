/**
 * FileBytes: the content of a file, unpacked if it is gzip (told by its first bytes, not by its name), piece by piece.
 * Invariant: each piece has memory of its own, which is the caller's. Neighbours: import-file.ts reads and hashes through it.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { ReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import type { Gunzip } from 'node:zlib'
import { PlayheadError } from '../protocol/errors.ts'
import { KiB } from '../protocol/limits.ts'

const readBytes = 256 * KiB
const unpackedBytes = 256 * KiB

export interface FileBytesOptions {
  /** Told how much of the file, as it is on disk, has been read. */
  readonly onBytes?: (bytesRead: number) => void
  readonly signal?: AbortSignal | undefined
}

/** Size of the file on disk, in bytes. Throws invalidArgument when it cannot be read. */
export async function fileSize(path: string): Promise<number> {
  try {
    const file = await stat(path)
    if (file.isFile()) return file.size
  } catch (error) {
    throw unreadable(path, error)
  }
  throw new PlayheadError('invalidArgument', `file ${path}: found no regular file, wanted one that can be read twice`)
}

/** SHA-256 of the file as it is on disk. */
export async function fileHash(path: string, { onBytes, signal }: FileBytesOptions = {}): Promise<Buffer> {
  const hash = createHash('sha256')
  let bytesRead = 0
  try {
    for await (const bytes of createReadStream(path, { highWaterMark: readBytes, signal })) {
      hash.update(bytes as Buffer)
      onBytes?.((bytesRead += (bytes as Buffer).length))
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw unreadable(path, error)
  }
  return hash.digest()
}

/** Throws invalidArgument when the file cannot be read or its gzip is damaged, and the reason of the signal. */
export async function* fileBytes(path: string, { onBytes, signal }: FileBytesOptions = {}): AsyncGenerator<Buffer> {
  try {
    const gzip = await isGzip(path)
    const file = createReadStream(path, { highWaterMark: readBytes, signal })
    const pieces = (gzip ? unpacked(file) : file) as AsyncIterable<Buffer>
    for await (const bytes of pieces) {
      onBytes?.(file.bytesRead)
      yield bytes
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw unreadable(path, error)
  }
}

function unpacked(file: ReadStream): Gunzip {
  const gunzip = createGunzip({ chunkSize: unpackedBytes })
  file.on('error', (error) => gunzip.destroy(error))
  gunzip.on('close', () => file.destroy())
  return file.pipe(gunzip)
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

function unreadable(path: string, error: unknown): PlayheadError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT')
    return new PlayheadError('invalidArgument', `file ${path}: found none, wanted a file; check the path`)
  const gzip = code?.startsWith('Z_') === true
  const found = gzip ? `damaged gzip data (${message})` : message
  return new PlayheadError(
    'invalidArgument',
    `file ${path}: found ${found}, wanted a file that can be read${gzip ? '; get it again' : ''}`,
  )
}
