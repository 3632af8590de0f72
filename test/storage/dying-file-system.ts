/** Keeps what a MemoryFileSystem holds before each call that changes a file or a name: what a process that is killed there leaves. */
import type { File, FileSystem } from '../../platform/file-system.ts'
import type { MemoryFileSystem } from './memory-file-system.ts'

export interface Moment {
  /** The call that was about to be made. */
  readonly call: string
  readonly left: MemoryFileSystem
}

const changes = new Set<string | symbol>([
  'write',
  'append',
  'allocate',
  'truncate',
  'rename',
  'link',
  'remove',
  'removeDirectory',
])

export class DyingFileSystem {
  readonly fileSystem: FileSystem
  readonly moments: Moment[] = []
  /** Nothing is kept before it is set. */
  isWatching = false

  constructor(inner: MemoryFileSystem) {
    const watched = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (_, name) => {
          const value: unknown = Reflect.get(target, name)
          if (typeof value !== 'function') return value
          return async (...parameters: unknown[]) => {
            const isCreate = name === 'open' && parameters[1] === 'create'
            if (this.isWatching && (changes.has(name) || isCreate)) {
              const path =
                typeof parameters[0] === 'string' ? parameters[0] : ((target as { path?: string }).path ?? '')
              this.moments.push({ call: `${String(name)} ${path.split('/').at(-1)}`, left: inner.copy() })
            }
            const result: unknown = await Reflect.apply(value as () => unknown, target, parameters)
            return name === 'open' ? watched(result as File) : result
          }
        },
      })
    this.fileSystem = watched<FileSystem>(inner)
  }
}
