/**
 * CheckpointStore: the seam to the ordered key-value store that holds derived state: the stream index, heads and recovery
 * checkpoints. Invariant: everything in it can be rebuilt from the logs, so it may be wiped whenever it is closed, and it may
 * lag the logs; it never leads what is durable in them, because its writers wait for that first.
 * Neighbours: lmdb-checkpoint-store.ts and memory-checkpoint-store.ts implement it, StreamIndex and Log use it.
 */
export interface CheckpointPut {
  readonly key: Buffer
  /** null removes the key. */
  readonly value: Buffer | null
}

export interface CheckpointEntry {
  readonly key: Buffer
  readonly value: Buffer
}

export interface RangeOptions {
  /** The most entries to answer. */
  readonly limit: number
  /** `backwards`: from the last key of the range towards its first. */
  readonly direction?: 'forwards' | 'backwards'
}

export interface CheckpointStats {
  gets: number
  puts: number
  transactions: number
  failedTransactions: number
  /** Values whose checksum did not hold. They read as absent: who must tell "never written" from "lost" watches this number. */
  badValues: number
}

export interface CheckpointStore {
  readonly stats: CheckpointStats
  /** Synchronous; may block for a page fault unless `prefetch` came before. A value with a bad checksum reads as absent and is counted. */
  get(key: Buffer): Buffer | undefined
  /** Whether `get` is likely to be answered from memory; else `prefetch` comes first. A hint, too. */
  readonly isWarm: boolean
  /** Touches the pages of these keys off the event loop. A hint: no result depends on it, and it never rejects. */
  prefetch(keys: readonly Buffer[]): Promise<void>
  /** Entries with `from` <= key < `to` in byte order, at most `limit` of them; synchronous. Entries with a bad checksum are left out and counted. */
  range(from: Buffer, to: Buffer, options: RangeOptions): CheckpointEntry[]
  /**
   * All puts in one transaction, in the order given. Calls take effect in the order they were made. Keys and values must not be changed
   * afterwards. Resolves when the transaction is on disk and visible to every later `get`; rejects when it did not happen (map or disk full).
   */
  write(puts: readonly CheckpointPut[]): Promise<void>
  /** Removes every key with `from` <= key < `to`, in several transactions if they are many. */
  removeRange(from: Buffer, to: Buffer): Promise<void>
  /** What is in it was found not to be what was written, although it reads: the next one to open it begins with an empty store. */
  condemn(): void
  /** Idempotent. Nothing may be called afterwards. */
  close(): Promise<void>
}

/** Key and value bytes: longer ones are bugs of the caller. LMDB with 4 KiB pages takes keys up to 1,978 bytes. */
export const checkpointKeyBytesMax = 1900

/** The key just after every key that begins with `prefix`, for ranges over a prefix. The prefix must not be all 0xff. */
export function afterPrefix(prefix: Buffer): Buffer {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  const after = Buffer.from(prefix.subarray(0, length))
  after[length - 1]!++
  return after
}
