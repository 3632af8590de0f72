/** What stands in a file that an operator keeps a secret in. Neighbours: AdminToken and ClusterSecret say what it must be, and why it cannot be read. */
import type { FileSystem } from '../../platform/file-system.ts'

/** More is no secret of ours. */
const fileBytesMax = 4096

/** Its first 4 KiB as text. Throws what the disk says. */
export async function readSecretFile(fileSystem: FileSystem, path: string): Promise<string> {
  const file = await fileSystem.open(path, 'read')
  try {
    const bytes = Buffer.alloc(fileBytesMax)
    return bytes.toString('utf8', 0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
}
