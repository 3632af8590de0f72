/**
 * DirectoryLock: one broker per data directory. The file `lock` names the process that holds it by pid, start time and boot id, so that
 * a lock left by kill -9 or a power cut is taken over at once, and one of a living process never is.
 * Invariants: a lock is complete from the moment it has its name (written and synced as `lock.new-<random>`, then linked); a stale lock is
 * removed only by the one who holds the lock on its removal, `lock.<hash of its text>`, which is taken over in the same way; and no text
 * comes twice. So of any number that start together one gets it.
 * Neighbours: data-directory.ts takes it first and releases it last; platform/process-identity.ts tells who lives, which it cannot do for
 * a process in another container.
 */
import { createHash } from 'node:crypto'
import { PlayheadError } from '../protocol/errors.ts'
import { isMissing } from '../platform/file-system.ts'
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

  /** Throws dataDirectoryInUse naming the pid when another process holds the directory, or is about to. */
  static async acquire(fileSystem: FileSystem, directory: string, random: Random): Promise<DirectoryLock> {
    const path = `${directory}/lock`
    const token = random.bytes(8).toString('hex')
    const own = `${path}.new-${token}`
    try {
      await writeLock(fileSystem, own, `${JSON.stringify({ ...ownIdentity(), token })}\n`)
      await take({ fileSystem, directory, own }, path)
    } finally {
      await removeIfThere(fileSystem, own)
    }
    await removeLeftBehind(fileSystem, directory)
    return new DirectoryLock(fileSystem, path)
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

interface Taking {
  readonly fileSystem: FileSystem
  readonly directory: string
  /** Our lock, complete, under a name of its own. */
  readonly own: string
}

/** Makes `path` ours. Throws dataDirectoryInUse when a living process has it, or is taking over what a dead one left there. */
async function take(taking: Taking, path: string): Promise<void> {
  const { fileSystem, directory, own } = taking
  while (!(await linked(fileSystem, own, path))) {
    const found = await readText(fileSystem, path)
    if (found === undefined) continue // released between our two looks
    const holder = parseIdentity(found)
    if (holder !== undefined && isAlive(holder)) throw inUse(directory, holder.pid)
    const removal = `${path}.${createHash('sha256').update(found).digest('hex').slice(0, 16)}`
    await take(taking, removal)
    try {
      // As long as the removal is ours nobody else takes this text away; if it is gone, another was here before us.
      if ((await readText(fileSystem, path)) === found) await fileSystem.remove(path)
    } finally {
      await removeIfThere(fileSystem, removal)
    }
  }
}

/** False when `path` is there already. */
async function linked(fileSystem: FileSystem, own: string, path: string): Promise<boolean> {
  try {
    await fileSystem.link(own, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** What starts that were killed half way left beside the lock, now that the lock is ours. */
async function removeLeftBehind(fileSystem: FileSystem, directory: string): Promise<void> {
  for (const name of await fileSystem.list(directory)) {
    if (!name.startsWith('lock.')) continue
    const text = await readText(fileSystem, `${directory}/${name}`)
    const writer = text === undefined ? undefined : parseIdentity(text)
    if (writer !== undefined && !isAlive(writer)) await removeIfThere(fileSystem, `${directory}/${name}`)
  }
}

async function writeLock(fileSystem: FileSystem, path: string, text: string): Promise<void> {
  const file = await fileSystem.open(path, 'create')
  try {
    await file.write([Buffer.from(text)], 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function removeIfThere(fileSystem: FileSystem, path: string): Promise<void> {
  try {
    await fileSystem.remove(path)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

async function readText(fileSystem: FileSystem, path: string): Promise<string | undefined> {
  let file
  try {
    file = await fileSystem.open(path, 'read')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  try {
    const bytes = Buffer.alloc(lockBytesMax)
    return bytes.toString('utf8', 0, await file.read(bytes, 0))
  } finally {
    await file.close()
  }
}

/** Undefined for anything unreadable: it holds nobody. */
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
