/**
 * MetadataTable: what a metadata store holds, in memory: entries, the revision, and which keys go with which lease. One synchronous step per
 * transaction, so that it is linearizable by itself. Knows no time: who owns it says when a lease is over.
 * Invariants: the revision rises by one with each transaction that changes something; a lease that is gone has no key.
 * Neighbours: local-metadata-store.ts keeps one on disk, the simulated store of the tests puts a network in front of one.
 */
import type { Compare, MetadataEntry, Transaction } from './metadata-store.ts'

export class MetadataTable {
  readonly #entries = new Map<string, MetadataEntry>()
  readonly #leases = new Set<string>()
  #revision: number

  constructor(revision: number, entries: Iterable<MetadataEntry> = []) {
    this.#revision = revision
    for (const entry of entries) this.#entries.set(entry.key, entry)
  }

  get revision(): number {
    return this.#revision
  }

  get(key: string): MetadataEntry | undefined {
    return this.#entries.get(key)
  }

  /** In order of their keys. */
  range(prefix: string): MetadataEntry[] {
    const found = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix))
    return found.toSorted((left, right) => (left.key < right.key ? -1 : 1))
  }

  /** The keys that changed; undefined when a compare does not hold or a lease is not there. */
  apply({ compares, changes }: Transaction): string[] | undefined {
    if (!compares.every((compare) => this.#holds(compare))) return undefined
    const isLeaseMissing = (leaseId: string | undefined) => leaseId !== undefined && !this.#leases.has(leaseId)
    if (changes.some((change) => change.kind === 'put' && isLeaseMissing(change.leaseId))) return undefined
    const effective = changes.filter((change) => change.kind === 'put' || this.#entries.has(change.key))
    if (effective.length === 0) return []
    const revision = ++this.#revision
    for (const change of effective) {
      if (change.kind === 'delete') {
        this.#entries.delete(change.key)
        continue
      }
      const { key, value, leaseId } = change
      const createRevision = this.#entries.get(key)?.createRevision ?? revision
      this.#entries.set(key, { key, value, createRevision, modRevision: revision, leaseId })
    }
    return effective.map(({ key }) => key)
  }

  addLease(leaseId: string): void {
    this.#leases.add(leaseId)
  }

  hasLease(leaseId: string): boolean {
    return this.#leases.has(leaseId)
  }

  /** The keys that went with it. */
  endLease(leaseId: string): string[] {
    if (!this.#leases.delete(leaseId)) return []
    const keys = [...this.#entries.values()].filter((entry) => entry.leaseId === leaseId).map(({ key }) => key)
    return this.apply({ compares: [], changes: keys.map((key) => ({ kind: 'delete', key })) }) ?? []
  }

  #holds(compare: Compare): boolean {
    const { modRevision = 0, createRevision = 0 } = this.#entries.get(compare.key) ?? {}
    if ('modRevision' in compare) return modRevision === compare.modRevision
    if ('createRevision' in compare) return createRevision === compare.createRevision
    return createRevision !== compare.createRevisionIsNot
  }
}
