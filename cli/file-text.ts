/**
 * FileText: the text of a file, unpacked if it is gzip (told by its first bytes, not by its name), piece by piece.
 * Invariant: only whole, valid UTF-8 comes out, without byte order mark. Neighbours: import-file.ts reads and hashes through it.
 */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { ReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import type { Gunzip } from 'node:zlib'
import { PlayheadError } from '../protocol/errors.ts'
import { KiB } from '../protocol/limits.ts'

const readBytes = 256 * KiB
const textBytes = 256 * KiB

export interface FileTextOptions {
  /** Told how much of the file, as it is on disk, has been read. */
  readonly onBytes?: (bytesRead: number) => void
  readonly signal?: AbortSignal | undefined
}

/** The bytes in a piece were not UTF-8; `newlines` before the first bad byte of that piece. */
export class NotUtf8 extends Error {
  readonly newlines: number

  constructor(newlines: number) {
    super('found bytes that are not UTF-8, wanted UTF-8; convert the file first (iconv -f latin1 -t utf-8)')
    this.name = 'NotUtf8'
    this.newlines = newlines
  }
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
export async function fileHash(path: string, { onBytes, signal }: FileTextOptions = {}): Promise<Buffer> {
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

/** Throws invalidArgument when the file cannot be read or its gzip is damaged, and NotUtf8. */
export async function* fileText(path: string, { onBytes, signal }: FileTextOptions = {}): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    const gzip = await isGzip(path)
    const file = createReadStream(path, { highWaterMark: readBytes, signal })
    const pieces = (gzip ? unpacked(file) : file) as AsyncIterable<Buffer>
    for await (const bytes of pieces) {
      onBytes?.(file.bytesRead)
      yield decodePiece(decoder, bytes)
    }
    yield decodePiece(decoder, undefined)
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof NotUtf8) throw error
    throw unreadable(path, error)
  }
}

function unpacked(file: ReadStream): Gunzip {
  const gunzip = createGunzip({ chunkSize: textBytes })
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

/** `undefined` = the end: a character that was begun must be finished. */
function decodePiece(decoder: TextDecoder, bytes: Buffer | undefined): string {
  try {
    return decoder.decode(bytes, { stream: bytes !== undefined })
  } catch {
    throw new NotUtf8(bytes === undefined ? 0 : linesOfUtf8(bytes))
  }
}

/** How many whole lines of `bytes` are valid before the first one that is not. A character cut at the start counts as bad. */
function linesOfUtf8(bytes: Buffer): number {
  let count = 0
  let from = 0
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
    // The first line may begin inside a character that the piece before has checked.
    if (from > 0 && !isUtf8(bytes.subarray(from, end))) return count
    from = end + 1
    count++
  }
  return count
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
