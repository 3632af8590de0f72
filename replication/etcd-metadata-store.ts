/**
 * EtcdMetadataStore: the metadata store of a cluster, kept by etcd (3.4 or later) and reached through its JSON gateway. Keys and values are
 * bytes in base64 there, revisions and leases decimal texts.
 * Invariants: reads ask etcd for a linearizable answer; a transaction is sent once; one whose answer did not come is `unknown`.
 * Neighbours: etcd-gateway.ts carries the calls, etcd-watch.ts the hints.
 */
import assert from 'node:assert/strict'
import type { Clock } from '../platform/clock.ts'
import { EtcdGateway, EtcdRefusal, EtcdUnknown } from './etcd-gateway.ts'
import type { EtcdAccess } from './etcd-gateway.ts'
import { EtcdWatch } from './etcd-watch.ts'
import { checkTransaction } from './metadata-store.ts'
import type {
  Change,
  Compare,
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

export interface EtcdOptions extends EtcdAccess {
  /** Before every key in etcd. */
  readonly prefix: string
  readonly clock: Clock
}

/** Of a range, so that no answer is too large for anybody. */
const pageEntries = 1_000
const compactedTriesMax = 5
const notFound = 5
const outOfRange = 11

type Answer = Readonly<Record<string, unknown>>

export class EtcdMetadataStore implements MetadataStore {
  readonly #gateway: EtcdGateway
  readonly #options: EtcdOptions
  readonly #watches = new Set<EtcdWatch>()

  private constructor(options: EtcdOptions, gateway: EtcdGateway) {
    this.#options = options
    this.#gateway = gateway
  }

  /** Throws unavailable or metadataStoreRefused, saying what was found at the address. */
  static async open(options: EtcdOptions): Promise<EtcdMetadataStore> {
    const gateway = new EtcdGateway(options, options.clock)
    const store = new EtcdMetadataStore(options, gateway)
    try {
      await gateway.checkVersion()
      await store.get('/') // also lets us in, or not
      return store
    } catch (error) {
      await store.close()
      throw error
    }
  }

  async get(key: string): Promise<StoreMark & { readonly entry: MetadataEntry | undefined }> {
    const { mark, entries } = await this.#page({ key: this.#key(key) })
    return { ...mark, entry: entries[0] }
  }

  async range(prefix: string): Promise<MetadataRange> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#range(prefix)
      } catch (error) {
        // The revision that the pages are read at was compacted meanwhile: from the beginning.
        if (!(error instanceof EtcdRefusal) || error.code !== outOfRange || tries >= compactedTriesMax) throw error
      }
    }
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction)
    try {
      const answer = await this.#gateway.change('/v3/kv/txn', this.#body(transaction))
      return { outcome: answer['succeeded'] === true ? 'done' : 'refused', ...markOf(answer) }
    } catch (error) {
      if (error instanceof EtcdUnknown) return { outcome: 'unknown', reason: error.message }
      const isLeaseGone = error instanceof EtcdRefusal && error.code === notFound
      // Refused as a whole, like a compare that does not hold; the read tells at which revision.
      if (isLeaseGone) return { outcome: 'refused', ...(await this.#mark()) }
      throw error
    }
  }

  /** etcd counts in whole seconds and has a shortest time of its own, about twice the time it takes to elect its leader. */
  async grantLease(ttlMs: number): Promise<Lease> {
    const answer = await this.#gateway.ask('/v3/lease/grant', { TTL: Math.ceil(ttlMs / 1_000) })
    return { ...markOf(answer), leaseId: textOf(answer, 'ID'), ttlMs: numberOf(answer, 'TTL') * 1_000 }
  }

  async keepLease(leaseId: string): Promise<boolean> {
    const { result } = await this.#gateway.ask('/v3/lease/keepalive', { ID: leaseId })
    assert(isAnswer(result))
    return numberOf(result, 'TTL') > 0
  }

  async revokeLease(leaseId: string): Promise<void> {
    try {
      await this.#gateway.ask('/v3/lease/revoke', { ID: leaseId })
    } catch (error) {
      if (!(error instanceof EtcdRefusal) || error.code !== notFound) throw error
    }
  }

  watch(prefix: string, onHint: OnHint): Watch {
    const { prefix: before, clock } = this.#options
    const from = bytesOf(before + prefix)
    const range = { key: base64(from), range_end: base64(endOf(from)) }
    const tell = (key: string | undefined) => onHint(key?.slice(before.length))
    const watch = new EtcdWatch({ gateway: this.#gateway, clock, range, onHint: tell })
    this.#watches.add(watch)
    return {
      close: () => {
        watch.close()
        this.#watches.delete(watch)
      },
    }
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.close()
    this.#watches.clear()
    this.#gateway.close()
  }

  async #range(prefix: string): Promise<MetadataRange> {
    const from = bytesOf(this.#options.prefix + prefix)
    const rangeEnd = base64(endOf(from))
    const first = await this.#page({ key: base64(from), range_end: rangeEnd, limit: pageEntries })
    const entries = [...first.entries]
    for (let page = first; page.hasMore; ) {
      const key = base64(Buffer.concat([bytesOf(this.#options.prefix + entries.at(-1)!.key), Buffer.alloc(1)]))
      page = await this.#page({ key, range_end: rangeEnd, limit: pageEntries, revision: first.mark.revision })
      entries.push(...page.entries)
    }
    return { ...first.mark, entries }
  }

  async #page(body: object): Promise<{ mark: StoreMark; entries: MetadataEntry[]; hasMore: boolean }> {
    const answer = await this.#gateway.ask('/v3/kv/range', body)
    const kvs = answer['kvs'] ?? []
    assert(Array.isArray(kvs))
    return { mark: markOf(answer), entries: kvs.map((kv) => this.#entryOf(kv)), hasMore: answer['more'] === true }
  }

  async #mark(): Promise<StoreMark> {
    const { storeId, revision } = await this.get('/')
    return { storeId, revision }
  }

  #entryOf(kv: unknown): MetadataEntry {
    assert(isAnswer(kv))
    const leaseId = textOf(kv, 'lease')
    return {
      key: Buffer.from(textOf(kv, 'key'), 'base64').toString('utf8').slice(this.#options.prefix.length),
      value: Buffer.from(textOf(kv, 'value'), 'base64').toString('utf8'),
      createRevision: numberOf(kv, 'create_revision'),
      modRevision: numberOf(kv, 'mod_revision'),
      leaseId: leaseId === '' || leaseId === '0' ? undefined : leaseId,
    }
  }

  #body({ compares, changes }: Transaction): object {
    return {
      compare: compares.map((compare) => this.#compare(compare)),
      success: changes.map((change) => this.#change(change)),
    }
  }

  #compare(compare: Compare): object {
    const key = this.#key(compare.key)
    if ('modRevision' in compare) {
      return { key, target: 'MOD', result: 'EQUAL', mod_revision: compare.modRevision }
    }
    if ('createRevision' in compare) {
      return { key, target: 'CREATE', result: 'EQUAL', create_revision: compare.createRevision }
    }
    return { key, target: 'CREATE', result: 'NOT_EQUAL', create_revision: compare.createRevisionIsNot }
  }

  #change(change: Change): object {
    const key = this.#key(change.key)
    if (change.kind === 'delete') return { request_delete_range: { key } }
    return { request_put: { key, value: base64(bytesOf(change.value)), lease: change.leaseId ?? '0' } }
  }

  #key(key: string): string {
    return base64(bytesOf(this.#options.prefix + key))
  }
}

function isAnswer(value: unknown): value is Answer {
  return typeof value === 'object' && value !== null
}

function markOf(answer: Answer): StoreMark {
  const header = answer['header']
  assert(isAnswer(header))
  return { storeId: textOf(header, 'cluster_id'), revision: numberOf(header, 'revision') }
}

/** The gateway leaves out what is empty, or 0. */
function textOf(answer: Answer, field: string): string {
  const value = answer[field] ?? ''
  assert(typeof value === 'string')
  return value
}

function numberOf(answer: Answer, field: string): number {
  const value = Number(answer[field] ?? 0)
  assert(Number.isSafeInteger(value), field)
  return value
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'utf8')
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64')
}

/** The end of the range of everything that begins with `prefix`: no UTF-8 ends in a byte that cannot be raised. */
function endOf(prefix: Buffer): Buffer {
  assert(prefix.length > 0 && prefix.at(-1)! < 0xff)
  const end = Buffer.from(prefix)
  end[end.length - 1]!++
  return end
}
