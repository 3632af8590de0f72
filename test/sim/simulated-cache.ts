/**
 * SimulatedCache: what a machine keeps of its CheckpointStore, over kills and power cuts. A write takes its time; one under way when the
 * process ends has happened or not; on a full disk none happens. Between two runs it may be wiped, be replaced by an older state of itself, or
 * lose values to a disk that mixed them up: it is derived.
 * Neighbours: machine.ts keeps it; LogStore gets one store per run from `open`.
 */
import type { CheckpointPut, CheckpointStore } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import type { Disk } from './disk.ts'
import type { SimulatedProcess } from './simulated-process.ts'

type Change =
  | { readonly puts: readonly CheckpointPut[] }
  | { readonly from: Buffer; readonly to: Buffer }
  /** The value of the key has a bad checksum from now on, which reads as absent. */
  | { readonly spoilt: Buffer }

const firstKey = Buffer.alloc(0)
const endKey = Buffer.alloc(600, 0xff)

export class SimulatedCache {
  readonly #disk: Disk
  #changes: Change[] = []
  #isCondemned = false

  constructor(disk: Disk) {
    this.#disk = disk
  }

  get length(): number {
    return this.#changes.length
  }

  /** Back to an earlier state; 0 = empty. */
  cut(length: number): void {
    this.#changes = this.#changes.slice(0, length)
  }

  /** One value, as `choose` picks among so many, cannot be read any more. False when there is none. */
  spoil(choose: (count: number) => number): boolean {
    const entries = this.look().range(firstKey, endKey, { limit: Infinity })
    const entry = entries[choose(entries.length)]
    if (entry !== undefined) this.#changes.push({ spoilt: entry.key })
    return entry !== undefined
  }

  /** As it is now. */
  look(): CheckpointStore {
    return this.#contents()
  }

  async open(process: SimulatedProcess): Promise<CheckpointStore> {
    if (this.#isCondemned) this.cut(0)
    this.#isCondemned = false
    const memory = this.#contents()
    // As the real store does when it meets what was not written so.
    const read = <T>(look: () => T): T => {
      const badBefore = memory.stats.badValues
      const found = look()
      if (memory.stats.badValues > badBefore) this.#isCondemned = true
      return found
    }
    let last: Promise<void> = Promise.resolve()
    const happen = (change: Change) => {
      this.#changes.push(change)
      memory.apply(change)
    }
    const inOrder = (change: Change): Promise<void> => {
      const before = last.catch(() => undefined)
      last = (async () => {
        await before
        await happens(process, () => {
          if (this.#disk.isFull) throw this.#disk.refusal('cache')
          happen(change)
        })
      })()
      last.catch(() => undefined) // whoever wrote hears of it
      return last
    }
    return {
      stats: memory.stats,
      get isWarm() {
        return process.scheduler.between(0, 1) < 0.5
      },
      get: (key) => read(() => memory.get(key)),
      prefetch: () => new Promise((resolve) => process.after(process.scheduler.between(0, 0.5), 'prefetch', resolve)),
      range: (from, to, options) => read(() => memory.range(from, to, options)),
      write: (puts) =>
        inOrder({
          puts: puts.map(({ key, value }) => ({ key: Buffer.from(key), value: value && Buffer.from(value) })),
        }),
      removeRange: (from, to) => inOrder({ from, to }),
      condemn: () => {
        this.#isCondemned = true
      },
      close: async () => {
        await last.catch(() => undefined)
      },
    }
  }

  #contents(): SpoilableStore {
    const contents = new SpoilableStore()
    for (const change of this.#changes) contents.apply(change)
    return contents
  }
}

/** A store in memory in which values can have a bad checksum: as in LMDB they read as absent, and count. */
class SpoilableStore extends MemoryCheckpointStore {
  readonly #spoilt = new Set<string>()

  apply(change: Change): void {
    if ('spoilt' in change) return void this.#spoilt.add(change.spoilt.toString('latin1'))
    if ('puts' in change) {
      for (const { key } of change.puts) this.#spoilt.delete(key.toString('latin1'))
      void this.write(change.puts)
      return
    }
    const [from, to] = [change.from.toString('latin1'), change.to.toString('latin1')]
    for (const key of this.#spoilt) if (key >= from && key < to) this.#spoilt.delete(key)
    void this.removeRange(change.from, change.to)
  }

  override get(key: Buffer): Buffer | undefined {
    if (!this.#spoilt.has(key.toString('latin1'))) return super.get(key)
    this.stats.badValues++
    return undefined
  }

  override range(...[from, to, options]: Parameters<CheckpointStore['range']>) {
    return super.range(from, to, options).filter(({ key }) => {
      const isSpoilt = this.#spoilt.has(key.toString('latin1'))
      if (isSpoilt) this.stats.badValues++
      return !isSpoilt
    })
  }
}

/** After its time; or, half the times, as the process is killed. */
function happens(process: SimulatedProcess, happen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const alone = () => {
      try {
        happen()
      } catch {}
    }
    process.calls.add(alone)
    process.after(process.scheduler.between(0.1, 5), 'cache', () => {
      process.calls.delete(alone)
      try {
        happen()
        resolve()
      } catch (error) {
        reject(error)
      }
    })
  })
}
