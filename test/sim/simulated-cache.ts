/**
 * SimulatedCache: what a machine keeps of its CheckpointStore, over kills and power cuts. A write takes its time; one under way when the
 * process ends has happened or not. Between two runs it may be wiped, or be replaced by an older state of itself: it is derived.
 * Neighbours: machine.ts keeps it; LogStore gets one store per run from `open`.
 */
import type { CheckpointPut, CheckpointStore } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import type { SimulatedProcess } from './simulated-process.ts'

type Change = { readonly puts: readonly CheckpointPut[] } | { readonly from: Buffer; readonly to: Buffer }

export class SimulatedCache {
  #changes: Change[] = []
  #isCondemned = false

  get length(): number {
    return this.#changes.length
  }

  /** Back to an earlier state; 0 = empty. */
  cut(length: number): void {
    this.#changes = this.#changes.slice(0, length)
  }

  async open(process: SimulatedProcess): Promise<CheckpointStore> {
    const memory = new MemoryCheckpointStore()
    if (this.#isCondemned) this.#changes = []
    this.#isCondemned = false
    for (const change of this.#changes) await apply(memory, change)
    let last: Promise<void> = Promise.resolve()
    const happen = (change: Change) => {
      this.#changes.push(change)
      applying = apply(memory, change)
    }
    let applying: Promise<void> = Promise.resolve()
    const inOrder = (change: Change): Promise<void> => {
      const before = last
      last = (async () => {
        await before
        await happens(process, () => happen(change))
        await applying
      })()
      return last
    }
    return {
      stats: memory.stats,
      get: (key) => memory.get(key),
      prefetch: () => new Promise((resolve) => process.after(process.scheduler.between(0, 0.5), 'prefetch', resolve)),
      range: (from, to, options) => memory.range(from, to, options),
      write: (puts) =>
        inOrder({
          puts: puts.map(({ key, value }) => ({ key: Buffer.from(key), value: value && Buffer.from(value) })),
        }),
      removeRange: (from, to) => inOrder({ from, to }),
      condemn: () => {
        this.#isCondemned = true
      },
      close: async () => {
        await last
      },
    }
  }
}

/** After its time; or, half the times, as the process is killed. */
function happens(process: SimulatedProcess, happen: () => void): Promise<void> {
  return new Promise((resolve) => {
    process.calls.add(happen)
    process.after(process.scheduler.between(0.1, 5), 'cache', () => {
      process.calls.delete(happen)
      happen()
      resolve()
    })
  })
}

function apply(memory: MemoryCheckpointStore, change: Change): Promise<void> {
  return 'puts' in change ? memory.write(change.puts) : memory.removeRange(change.from, change.to)
}
