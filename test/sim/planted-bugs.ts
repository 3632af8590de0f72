/**
 * Planted bugs: file systems that break a promise of the seam, each as a broker with that bug would be seen by its disk. They stand between the
 * real broker and the simulated disk; nothing in the product knows of them. A simulator that does not find them finds nothing.
 */
import type { File, FileSystem } from '../../platform/file-system.ts'
import type { Fault } from './nemesis.ts'
import type { SimulatedProcess } from './simulated-process.ts'

export interface PlantedBug {
  readonly name: string
  /** Faults under which it shows. */
  readonly kinds: readonly Fault[]
  readonly wrap: (fileSystem: FileSystem, process: SimulatedProcess) => FileSystem
}

type OpenMode = Parameters<FileSystem['open']>[1]

/** The file system with some calls of its files replaced; `change` gets the real file. An append is a write and a sync, as they are then. */
function withFiles(
  inner: FileSystem,
  change: (file: File, mode: OpenMode) => Partial<File> | Promise<Partial<File>>,
): FileSystem {
  return override(inner, {
    async open(path: string, mode: OpenMode) {
      const file = await inner.open(path, mode)
      const changed = override(file, await change(file, mode))
      return override(changed, {
        async append(parts: readonly Buffer[], position: number) {
          await changed.write(parts, position)
          await changed.sync()
        },
      })
    },
  })
}

/** All of `inner`, but for what `changes` has. */
function override<T extends object>(inner: T, changes: Partial<T>): T {
  return new Proxy(inner, {
    get(target, name) {
      if (Reflect.has(changes, name)) return Reflect.get(changes, name) as unknown
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}

const isLog = ({ path }: File): boolean => path.endsWith('.log')

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'a log is never synced',
    kinds: ['power'],
    wrap: (inner) => withFiles(inner, (file) => (isLog(file) ? { sync: () => Promise.resolve() } : {})),
  },
  {
    name: 'an append is acknowledged while its sync is still under way',
    kinds: ['power', 'slow'],
    wrap: (inner) =>
      withFiles(inner, (file) => {
        if (!isLog(file)) return {}
        const sync = () => {
          file.sync().catch(() => undefined)
          return Promise.resolve()
        }
        return { sync }
      }),
  },
  {
    name: 'a sync that failed is tried again',
    kinds: ['syncError', 'power'],
    wrap: (inner) => withFiles(inner, (file) => ({ sync: () => file.sync().catch(() => undefined) })),
  },
  {
    name: 'names are not made durable',
    kinds: ['power'],
    wrap: (inner) => override(inner, { syncDirectory: () => Promise.resolve() }),
  },
  {
    name: 'recovery cuts a batch off the end that was acknowledged',
    kinds: ['kill'],
    wrap: (inner, process) =>
      withFiles(inner, async (file, mode) => {
        if (!isLog(file) || mode !== 'write' || !process.name.startsWith('broker')) return {}
        const cutAt = Math.floor((await file.sizeBytes()) / 3)
        await file.write([Buffer.alloc(100_000)], cutAt)
        return {}
      }),
  },
  {
    name: 'a read answers what stands a sector further on',
    kinds: ['reset'],
    wrap: (inner) =>
      withFiles(inner, (file) => {
        if (!isLog(file)) return {}
        return { read: (target, position) => file.read(target, position + (position > 4096 ? 512 : 0)) }
      }),
  },
  {
    name: 'a write is cut short and called done',
    kinds: ['kill'],
    wrap: (inner, process) =>
      withFiles(inner, (file) => {
        if (!isLog(file)) return {}
        const write = (parts: readonly Buffer[], position: number) =>
          process.scheduler.oneIn(20)
            ? file.write([Buffer.concat(parts).subarray(0, 100)], position)
            : file.write(parts, position)
        return { write }
      }),
  },
]
