/**
 * DirectoryLock: one broker per data directory. The file `lock` names the process that holds it by pid, start time and boot id, so that
 * a lock left by kill -9 or a power cut is taken over at once, and one of a living process never is.
 * Neighbours: data-directory.ts takes it first and releases it last; platform/process-identity.ts tells who lives.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { isAlive, ownIdentity } from '../platform/process-identity.ts'
import type { ProcessIdentity } from '../platform/process-identity.ts'
import type { Random } from '../platform/random.ts'

const lockBytesMax = 4096

export class DirectoryLock {
  readonly #fileSystem: FileSystem
  readonly #path: string
  #held = true

  private constructor(fileSystem: FileSystem, path: string) {
    this.#fileSystem = fileSystem
    this.#path = path
  }

  /** Throws dataDirectoryInUse naming the pid when another process holds the directory. */
  static async acquire(fileSystem: FileSystem, directory: string, random: Random): Promise<DirectoryLock> {
    const path = `${directory}/lock`
    for (;;) {
      if (await createLock(fileSystem, path)) return new DirectoryLock(fileSystem, path)
      const found = await readText(fileSystem, path)
      if (found === undefined) continue // released between our two looks
      const holder = parseIdentity(found)
      if (holder !== undefined && isAlive(holder)) throw inUse(directory, holder.pid)
      await moveAway(fileSystem, path, found, `${path}.stale-${random.bytes(8).toString('hex')}`)
    }
  }

  /** Throws dataDirectoryInUse when a living process holds the directory; takes nothing. For tools that read a directory offline. */
  static async checkFree(fileSystem: FileSystem, directory: string): Promise<void> {
    const found = await readText(fileSystem, `${directory}/lock`)
    const holder = found === undefined ? undefined : parseIdentity(found)
    if (holder !== undefined && isAlive(holder)) throw inUse(directory, holder.pid)
  }

  async release(): Promise<void> {
    if (!this.#held) return
    this.#held = false
    await this.#fileSystem.remove(this.#path)
  }
}

/** Of several that find the same stale lock, one moves it away; one that moved another's new lock instead puts it back. */
async function moveAway(fileSystem: FileSystem, path: string, stale: string, stalePath: string): Promise<void> {
  try {
    await fileSystem.rename(path, stalePath)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    throw error
  }
  if ((await readText(fileSystem, stalePath)) === stale) await fileSystem.remove(stalePath)
  else await fileSystem.rename(stalePath, path)
}

async function createLock(fileSystem: FileSystem, path: string): Promise<boolean> {
  let file
  try {
    file = await fileSystem.open(path, 'create')
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
  try {
    await file.write([Buffer.from(`${JSON.stringify(ownIdentity())}\n`)], 0)
    await file.sync()
  } finally {
    await file.close()
  }
  return true
}

async function readText(fileSystem: FileSystem, path: string): Promise<string | undefined> {
  let file
  try {
    file = await fileSystem.open(path, 'read')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    const bytes = Buffer.alloc(lockBytesMax)
    return bytes.toString('utf8', 0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
}

/** Undefined for anything unreadable: a lock whose writer died before its content was on disk holds nobody. */
function parseIdentity(text: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    const { pid, startTime, bootId } = value as Record<string, unknown>
    if (typeof pid !== 'number' || typeof startTime !== 'string' || typeof bootId !== 'string') return undefined
    return { pid, startTime, bootId }
  } catch {
    return undefined
  }
}

function inUse(directory: string, pid: number): PlayheadError {
  return new PlayheadError(
    'dataDirectoryInUse',
    `${directory}: found it in use by process ${pid}, wanted it free; stop that broker or name another directory with --data`,
    { directory, pid },
  )
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
