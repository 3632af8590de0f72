/**
 * MemoryViewStore: view state in this process's memory, gone when it ends; the next process derives it again. For tests and for views
 * that are quick to derive. Invariant: holds bytes, never live objects, so that nobody's change to a state it was handed reaches here.
 * Implements view-store.ts; called by view-tables.ts.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { ViewStore, ViewStoreEntry, ViewTransaction } from './view-store.ts'

/** A latin1 string has one character a byte, so string order is byte order. */
const textOf = (key: Buffer): string => key.toString('latin1')

class MemoryViewStore implements ViewStore {
  readonly #values = new Map<string, Buffer>()
  /** Keys in order; undefined after a key came or went, until the next range sorts them again. */
  #sorted: string[] | undefined
  #closed = false

  get(key: Buffer): Buffer | undefined {
    this.#checkOpen()
    return copyOf(this.#values.get(textOf(key)))
  }

  range(from: Buffer, before: Buffer, limit: number): ViewStoreEntry[] {
    this.#checkOpen()
    this.#sorted ??= Array.from(this.#values.keys()).toSorted()
    const entries: ViewStoreEntry[] = []
    const end = textOf(before)
    for (let index = firstAtLeast(this.#sorted, textOf(from)); index < this.#sorted.length; index++) {
      const key = this.#sorted[index] as string
      if (key >= end || entries.length >= limit) break
      entries.push([Buffer.from(key, 'latin1'), copyOf(this.#values.get(key)) as Buffer])
    }
    return entries
  }

  async transaction<T>(change: (transaction: ViewTransaction) => T): Promise<T> {
    this.#checkOpen()
    const changed = new Map<string, Buffer | undefined>()
    const result = change({
      get: (key) => copyOf(changed.has(textOf(key)) ? changed.get(textOf(key)) : this.#values.get(textOf(key))),
      put: (key, value) => void changed.set(textOf(key), Buffer.from(value)),
      remove: (key) => void changed.set(textOf(key), undefined),
    })
    for (const [key, value] of changed) {
      if (this.#values.has(key) !== (value !== undefined)) this.#sorted = undefined
      if (value === undefined) this.#values.delete(key)
      else this.#values.set(key, value)
    }
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#values.clear()
    this.#sorted = undefined
  }

  #checkOpen(): void {
    if (this.#closed)
      throw new PlayheadError('closed', 'view store in memory: found closed, wanted open; make a new one')
  }
}

/**
 * A store for views whose state may be lost when the process ends.
 * @example
 * const revenue = view({ name: 'revenue', version: 1, topic, initial, apply, store: memoryViewStore() })
 */
export function memoryViewStore(): ViewStore {
  return new MemoryViewStore()
}

function copyOf(value: Buffer | undefined): Buffer | undefined {
  return value === undefined ? undefined : Buffer.from(value)
}

function firstAtLeast(sorted: readonly string[], wanted: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as string) < wanted) low = middle + 1
    else high = middle
  }
  return low
}
