/** A file copied into a new one, durable, with the SHA-256 of what was copied. Used by backup and restore. */
import { createHash } from 'node:crypto'
import { MiB } from '../protocol/limits.ts'
import type { FileSystem } from '../platform/file-system.ts'

const sliceBytes = 4 * MiB

export interface CopiedFile {
  readonly bytes: number
  /** Hex. */
  readonly sha256: string
}

/** Bytes [0, `bytesMax`) of `from`, or all of it; `to` must not be there. */
export async function copyFile(
  fileSystem: FileSystem,
  from: string,
  to: string,
  {
    bytesMax = Infinity,
    onBytes,
  }: { readonly bytesMax?: number; readonly onBytes?: ((bytes: number) => void) | undefined } = {},
): Promise<CopiedFile> {
  const hash = createHash('sha256')
  const source = await fileSystem.open(from, 'read')
  try {
    const target = await fileSystem.open(to, 'create')
    try {
      const slice = Buffer.allocUnsafeSlow(sliceBytes)
      let at = 0
      while (at < bytesMax) {
        const read = await source.read(slice.subarray(0, Math.min(sliceBytes, bytesMax - at)), at)
        if (read === 0) break
        const bytes = slice.subarray(0, read)
        hash.update(bytes)
        await target.write([bytes], at)
        at += read
        onBytes?.(read)
      }
      await target.sync()
      return { bytes: at, sha256: hash.digest('hex') }
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}
