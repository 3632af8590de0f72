/**
 * ViewStore: the contract of what views keep their state in: bytes under ordered byte keys, changed all or nothing.
 * Invariant: state and offsets of one commit become visible, and durable, together. What the keys mean is view-tables.ts's matter.
 * Neighbours: memory-view-store.ts and lmdb-view-store.ts implement it; both pass test/processing/view-store.test.ts.
 */

/** Bytes of the longest key a store must take. */
export const viewStoreKeyBytesMax = 1_500

/** One entry of a range: its key and its value. */
export type ViewStoreEntry = readonly [key: Buffer, value: Buffer]

/** Reads and writes inside one transaction; it sees its own writes. Not to be used after the transaction's function returned. */
export interface ViewTransaction {
  get(key: Buffer): Buffer | undefined
  put(key: Buffer, value: Buffer): void
  remove(key: Buffer): void
}

export interface ViewStore {
  /** The committed value, a copy that the caller may keep; undefined when there is none. Throws `closed`. */
  get(key: Buffer): Buffer | undefined
  /** Committed entries with from ≤ key < before, in byte order of the key, at most `limit` of them. */
  range(from: Buffer, before: Buffer, limit: number): ViewStoreEntry[]
  /**
   * Runs `change`, which must not wait for anything, alone: no other transaction of this store, in this process or another, runs
   * between its reads and its writes. Resolves when its writes are visible and as durable as the store is; when `change`
   * throws, none of them happened and the promise rejects with what was thrown.
   */
  transaction<T>(change: (transaction: ViewTransaction) => T): Promise<T>
  /** Ends the store after the transactions that were begun. Calls after it throw `closed`. */
  [Symbol.asyncDispose](): Promise<void>
}
