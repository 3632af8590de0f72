/**
 * FaultyCheckpointStore: a CheckpointStore for tests that takes its time, and fails writes when it is told to: before they happened, or after,
 * so that nobody can tell.
 */
import { PlayheadError } from '../../protocol/errors.ts'
import type { CheckpointEntry, CheckpointPut, CheckpointStore, RangeOptions } from '../../storage/checkpoint-store.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

export type Fate = 'written' | 'refused' | 'written, but refused'

export class FaultyCheckpointStore implements CheckpointStore {
  readonly #store: CheckpointStore
  readonly #fate: () => Fate
  #queue: Promise<void> = Promise.resolve()

  constructor(store: CheckpointStore, fate: () => Fate) {
    this.#store = store
    this.#fate = fate
  }

  get stats() {
    return this.#store.stats
  }

  get(key: Buffer): Buffer | undefined {
    return this.#store.get(key)
  }

  get isWarm(): boolean {
    return this.#store.isWarm
  }

  prefetch(keys: readonly Buffer[]): Promise<void> {
    return this.#store.prefetch(keys)
  }

  condemn(): void {
    this.#store.condemn()
  }

  range(from: Buffer, to: Buffer, options: RangeOptions): CheckpointEntry[] {
    return this.#store.range(from, to, options)
  }

  write(puts: readonly CheckpointPut[]): Promise<void> {
    const write = this.#queue.then(() => this.#write(puts))
    this.#queue = write.catch(() => {})
    return write
  }

  async #write(puts: readonly CheckpointPut[]): Promise<void> {
    const fate = this.#fate()
    await turn()
    if (fate !== 'refused') await this.#store.write(puts)
    await turn()
    if (fate !== 'written') throw new PlayheadError('storageFailed', 'found no room, as the test wanted')
  }

  removeRange(from: Buffer, to: Buffer): Promise<void> {
    return this.#store.removeRange(from, to)
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}
