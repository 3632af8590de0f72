/**
 * Disk: the names of one simulated machine's files, and what a power cut makes of them. Fault model, beside that of inode.ts:
 * - names made, moved and removed in a directory, and not followed by a sync of it: a prefix of them is kept, for each directory by itself;
 * - any call can be made to fail: `fail` arms one; `isFull` refuses all that takes room;
 * - a bit changes only where `Inode.flip` is called, and a page cannot be read only where `Inode.badPages` says so: rot.ts does both, and knows
 *   what that may cost.
 * Neighbours: disk-file-system.ts is the FileSystem on it, machine.ts cuts its power.
 */
import type { SeededRandom } from '../storage/seeded-random.ts'
import { Inode } from './inode.ts'

export type DiskCall = 'open' | 'read' | 'write' | 'sync' | 'allocate' | 'rename' | 'remove' | 'syncDirectory'

export class Directory {
  current = new Map<string, Directory | Inode>()
  #durable = new Map<string, Directory | Inode>()
  #pending: ((names: Map<string, Directory | Inode>) => void)[] = []

  change(apply: (names: Map<string, Directory | Inode>) => void): void {
    apply(this.current)
    this.#pending.push(apply)
  }

  /** The names as they are now are to become durable: calling the answer makes it so. */
  beginSync(): () => void {
    const changes = [...this.#pending]
    return () => {
      for (const change of changes) {
        if (this.#pending[0] !== change) continue // another sync was faster
        change(this.#durable)
        this.#pending.shift()
      }
    }
  }

  crash(random: SeededRandom): void {
    const kept = random.below(this.#pending.length + 1)
    for (const change of this.#pending.slice(0, kept)) change(this.#durable)
    this.#pending = []
    this.current = new Map(this.#durable)
    for (const node of this.current.values()) node.crash(random)
  }
}

interface ArmedFault {
  readonly call: DiskCall
  /** Path ends with this. */
  readonly suffix: string
  readonly code: 'EIO' | 'ENOSPC' | 'EDQUOT'
}

export class Disk {
  readonly random: SeededRandom
  /** Everything that takes room fails. */
  isFull = false
  /** Whose room it is that is used up: the disk's, or the user's on it. */
  readonly noRoom: 'ENOSPC' | 'EDQUOT'
  /** Every call takes so many times as long. */
  slowness = 1
  /** Faults that have struck. */
  struck = 0
  #root = new Directory()
  #armed: ArmedFault[] = []

  constructor(random: SeededRandom) {
    this.random = random
    // Not drawn: seeds stay the runs that they were.
    this.noRoom = random.seed % 3 === 0 ? 'EDQUOT' : 'ENOSPC'
  }

  /** What takes room on a full disk is refused with. */
  refusal(path: string): Error {
    return coded(this.noRoom, path)
  }

  /** The next such call fails, once. */
  fail(fault: ArmedFault): void {
    this.#armed.push(fault)
  }

  disarm(): void {
    this.#armed = []
    this.isFull = false
    this.slowness = 1
  }

  /** The error that this call is to fail with, if one is armed for it. */
  fault(call: DiskCall, path: string): Error | undefined {
    const at = this.#armed.findIndex((armed) => armed.call === call && path.endsWith(armed.suffix))
    const [armed] = at < 0 ? [] : this.#armed.splice(at, 1)
    if (armed === undefined) return undefined
    this.struck++
    return coded(armed.code, path)
  }

  /** The process that held the directory is gone, and with it its right to the lock: a living pid of the simulator stands for it otherwise. */
  freeLock(directory: string): void {
    const found = this.find(directory)
    if (!(found instanceof Directory)) return
    const locks = [...found.current.keys()].filter((name) => name === 'lock' || name.startsWith('lock.'))
    for (const name of locks) found.change((names) => names.delete(name))
    found.beginSync()()
  }

  /** Another disk, an empty one, is in its place. */
  replace(): void {
    this.#root = new Directory()
    this.disarm()
  }

  cutPower(): void {
    this.#root.crash(this.random)
  }

  find(path: string): Directory | Inode | undefined {
    let node: Directory | Inode | undefined = this.#root
    for (const name of path.split('/')) {
      if (name === '') continue
      if (!(node instanceof Directory)) return undefined
      node = node.current.get(name)
    }
    return node
  }

  directory(path: string): Directory {
    const node = this.find(path)
    if (node instanceof Directory) return node
    throw coded(node === undefined ? 'ENOENT' : 'ENOTDIR', path)
  }

  inode(path: string): Inode {
    const node = this.find(path)
    if (node instanceof Inode) return node
    throw coded(node === undefined ? 'ENOENT' : 'EISDIR', path)
  }

  /** Every file below a directory, in the order of their paths. */
  files(directory: string): string[] {
    const found: string[] = []
    const walk = (path: string) => {
      for (const [name, node] of this.directory(path).current) {
        if (node instanceof Inode) found.push(`${path}/${name}`)
        else walk(`${path}/${name}`)
      }
    }
    walk(directory)
    return found.toSorted()
  }
}

export function coded(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
