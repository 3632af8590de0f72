/**
 * GuardedMetadataStore: a metadata store that may not go back. Every answer carries the store's id and revision; one from another store, or from
 * before what had been seen when it was asked for, means that the store was replaced or brought back from an older copy: epochs that were given
 * out would be given out again. From then on everything is refused, until an operator has put it right and the broker starts again.
 * Invariant: what passes was answered by the store that was always there, at the revision seen last or later.
 * Neighbours: stands before any MetadataStore; ClusterMembership keeps what was seen on disk.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type {
  Lease,
  MetadataEntry,
  MetadataRange,
  MetadataStore,
  OnHint,
  StoreMark,
  Transaction,
  TransactionResult,
  Watch,
} from './metadata-store.ts'

export interface GuardOptions {
  /** What was seen in earlier runs. */
  readonly seen?: StoreMark | undefined
  /** For errors: the store's address. */
  readonly name: string
}

export class GuardedMetadataStore implements MetadataStore {
  readonly #store: MetadataStore
  readonly #name: string
  #seen: StoreMark | undefined
  #refusal: PlayheadError | undefined

  constructor(store: MetadataStore, { seen, name }: GuardOptions) {
    this.#store = store
    this.#name = name
    this.#seen = seen
  }

  /** The store, and the highest revision of it that was seen; undefined before the first answer. */
  get seen(): StoreMark | undefined {
    return this.#seen
  }

  /** Why everything is refused, once it is. Whoever serves goes on as things were agreed on, and shows it. */
  get refusal(): PlayheadError | undefined {
    return this.#refusal
  }

  get(key: string): Promise<StoreMark & { readonly entry: MetadataEntry | undefined }> {
    return this.#checked(() => this.#store.get(key))
  }

  range(prefix: string): Promise<MetadataRange> {
    return this.#checked(() => this.#store.range(prefix))
  }

  /** A transaction that another store has answered may have happened there: that is not ours to know. */
  transact(transaction: Transaction): Promise<TransactionResult> {
    return this.#checked(() => this.#store.transact(transaction))
  }

  grantLease(ttlMs: number): Promise<Lease> {
    return this.#checked(() => this.#store.grantLease(ttlMs))
  }

  async keepLease(leaseId: string): Promise<boolean> {
    this.#check()
    return this.#store.keepLease(leaseId)
  }

  async revokeLease(leaseId: string): Promise<void> {
    this.#check()
    return this.#store.revokeLease(leaseId)
  }

  watch(prefix: string, onHint: OnHint): Watch {
    return this.#store.watch(prefix, onHint)
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  async #checked<T extends StoreMark | { readonly outcome: 'unknown' }>(ask: () => Promise<T>): Promise<T> {
    this.#check()
    const before = this.#seen
    const answer = await ask()
    if ('outcome' in answer && answer.outcome === 'unknown') return answer
    if (!('storeId' in answer)) return answer
    const { storeId, revision } = answer
    // Answers may overtake one another: only what was seen before asking is a floor.
    if (before !== undefined && (before.storeId !== storeId || revision < before.revision)) {
      this.#refusal ??= this.#replaced(before, answer)
    }
    this.#check()
    if (this.#seen === undefined || revision > this.#seen.revision) this.#seen = { storeId, revision }
    return answer
  }

  #check(): void {
    if (this.#refusal !== undefined) throw this.#refusal
  }

  #replaced(before: StoreMark, found: StoreMark): PlayheadError {
    const wanted =
      before.storeId === found.storeId
        ? `revision ${before.revision} or later; it was brought back from an older copy`
        : `store ${before.storeId}; it is another one, or was made anew`
    return new PlayheadError(
      'metadataStoreReplaced',
      `metadata store ${this.#name}: found store ${found.storeId} at revision ${found.revision}, wanted ${wanted}: ` +
        'point --cluster at the right one, or restore the newest copy of it; no broker changes anything until then',
      { revision: found.revision, revisionSeen: before.revision },
    )
  }
}
