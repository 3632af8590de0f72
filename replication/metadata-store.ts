/**
 * MetadataStore: the seam to the engine that decides what brokers must agree on: who leads, which epoch, who is in sync, who is registered.
 * Keys with texts, each with the revisions of its making and of its last change; every change is one compare-and-swap transaction.
 * Invariants: reads and transactions are linearizable; a change that may or may not have happened is answered `unknown`, never hidden by a
 * retry; a watch is a hint to read again and carries no value that anybody could trust.
 * Neighbours: etcd-metadata-store.ts, local-metadata-store.ts, and the model of the tests; guarded-metadata-store.ts refuses a store that went back.
 */
import { PlayheadError } from '../protocol/errors.ts'

/** etcd's default limit of operations in a transaction, and so everybody's. Holds for compares and for changes, each by itself. */
export const transactionChangesMax = 128

/** A value is a small fact; etcd takes requests of 1.5 MiB. */
export const metadataValueBytesMax = 1024 * 1024

/** Where an answer comes from. A revision is raised by each transaction that changes something, and never goes back in one store. */
export interface StoreMark {
  /** The store's own id: another one is another store. */
  readonly storeId: string
  readonly revision: number
}

export interface MetadataEntry {
  readonly key: string
  readonly value: string
  /** The revision that made the key; a key deleted and made again has another one. Fences: a session's is its broker's epoch. */
  readonly createRevision: number
  /** The revision of the last change. */
  readonly modRevision: number
  /** The lease it goes with, if any. */
  readonly leaseId: string | undefined
}

export interface MetadataRange extends StoreMark {
  /** In order of their keys, all as of one revision. */
  readonly entries: readonly MetadataEntry[]
}

/** What must hold for a transaction to happen. A key that is not there has the revisions 0. */
export type Compare =
  | { readonly key: string; readonly modRevision: number }
  | { readonly key: string; readonly createRevision: number }
  /** "Absent or newer": whatever was made by that revision is there no longer. */
  | { readonly key: string; readonly createRevisionIsNot: number }

export type Change =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly leaseId?: string }
  | { readonly kind: 'delete'; readonly key: string }

/** Each key is changed at most once. */
export interface Transaction {
  readonly compares: readonly Compare[]
  readonly changes: readonly Change[]
}

export type TransactionResult =
  | ({ readonly outcome: 'done' } & StoreMark)
  /** A compare did not hold: nothing was changed. */
  | ({ readonly outcome: 'refused' } & StoreMark)
  /** It may have happened, it may still happen, or never: read until its nonce is seen or the compared revision has moved. */
  | { readonly outcome: 'unknown'; readonly reason: string }

export interface Lease extends StoreMark {
  readonly leaseId: string
  /** What the store grants, at least what was asked for. */
  readonly ttlMs: number
}

export interface Watch {
  close(): void
}

/**
 * What may have changed: the key, or anything below the prefix (after a gap: the connection was lost, history was compacted, the watch is new).
 * Hints may be late, repeated, or come for nothing; one is never lost without an `undefined` after it.
 */
export type OnHint = (key: string | undefined) => void

/**
 * Every method rejects with `unavailable` when it is certain that nothing was changed and no answer can be had now (try again later),
 * and with `metadataStoreRefused` when the store answers that it will not serve us (wrong password, not etcd, keyspace full).
 */
export interface MetadataStore {
  get(key: string): Promise<StoreMark & { readonly entry: MetadataEntry | undefined }>
  /** Every key that begins with `prefix`. */
  range(prefix: string): Promise<MetadataRange>
  /** All of its changes or none. */
  transact(transaction: Transaction): Promise<TransactionResult>
  /** Keys put with the lease vanish when it has not been kept for `ttlMs`: at the earliest; a store may take longer. */
  grantLease(ttlMs: number): Promise<Lease>
  /** False when the lease is gone for good, with its keys. */
  keepLease(leaseId: string): Promise<boolean>
  /** Its keys vanish now. Nothing happens if it is gone. */
  revokeLease(leaseId: string): Promise<void>
  /** The first hint, `undefined`, comes when the watch stands: what is read after it misses nothing that is not told. */
  watch(prefix: string, onHint: OnHint): Watch
  close(): Promise<void>
}

/** Throws invalidArgument on a transaction that no store would take. */
export function checkTransaction({ compares, changes }: Transaction): void {
  const count = Math.max(compares.length, changes.length)
  if (count > transactionChangesMax) {
    throw invalidTransaction(`found ${count} operations, wanted at most ${transactionChangesMax}; split it`)
  }
  const keys = new Set<string>()
  for (const change of changes) {
    if (keys.has(change.key)) throw invalidTransaction(`found two changes of ${change.key}, wanted one`)
    keys.add(change.key)
    if (change.kind === 'put' && Buffer.byteLength(change.value) > metadataValueBytesMax) {
      const bytes = Buffer.byteLength(change.value)
      throw invalidTransaction(`found ${bytes} bytes for ${change.key}, wanted at most ${metadataValueBytesMax}`)
    }
  }
}

function invalidTransaction(found: string): PlayheadError {
  return new PlayheadError('invalidArgument', `metadata transaction: ${found}`)
}
