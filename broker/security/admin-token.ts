/**
 * AdminToken: the token that may do everything, in a file beside the data that only the broker's own user can read: made at the first start with
 * security on, so that somebody can make the first user. Whoever can read the data directory has everything anyway. To change it, delete the
 * file and start the broker again; or mount one (`adminTokenFile`).
 */
import { createHash } from 'node:crypto'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { BrokerConfig } from '../config.ts'
import { readSecretFile } from './secret-file.ts'

const tokenBytes = 32
/** Fewer could be guessed. */
const charactersMin = 32

export class AdminToken {
  readonly path: string
  readonly hash: Buffer

  private constructor(path: string, text: string) {
    this.path = path
    this.hash = createHash('sha256').update(text).digest()
  }

  /** Makes the file when it is missing and its place is ours. Throws invalidConfiguration for one that is no token. */
  static async open({
    config,
    fileSystem,
    random,
  }: {
    readonly config: BrokerConfig
    readonly fileSystem: FileSystem
    readonly random: Random
  }): Promise<AdminToken> {
    const path = config.adminTokenFile === '' ? `${config.data}/admin.token` : config.adminTokenFile
    if (config.adminTokenFile === '' && !(await fileSystem.exists(path))) {
      await writeToken(fileSystem, config.data, path, random.bytes(tokenBytes).toString('base64url'))
    }
    const text = (await readText(fileSystem, path)).trim()
    if (text.length >= charactersMin && /^[\x21-\x7e]+$/.test(text)) return new AdminToken(path, text)
    throw new PlayheadError(
      'invalidConfiguration',
      `${path}: found ${text.length} characters, wanted a token of ${charactersMin} or more without spaces; delete it and one is made`,
      { file: path },
    )
  }
}

async function writeToken(fileSystem: FileSystem, directory: string, path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`
  if (await fileSystem.exists(temporary)) await fileSystem.remove(temporary)
  const file = await fileSystem.open(temporary, 'create')
  try {
    await file.write([Buffer.from(`${text}\n`)], 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await fileSystem.rename(temporary, path)
  await fileSystem.syncDirectory(directory)
}

async function readText(fileSystem: FileSystem, path: string): Promise<string> {
  try {
    return await readSecretFile(fileSystem, path)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new PlayheadError(
      'invalidConfiguration',
      `setting adminTokenFile: found ${why}, wanted a file that can be read`,
      {
        file: path,
      },
    )
  }
}
