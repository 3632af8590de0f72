/**
 * A model of etcd for simulations: one SimulatedEtcd for all, one SimulatedMetadataStore for each process that talks to it. Fault model:
 *   - a request is lost on its way, or its answer is; the client cannot tell which, and a transaction is answered `unknown`
 *   - a request arrives long after its client gave it up, and takes effect then
 *   - etcd stands still, ends and comes back with all it had, or with what it had at some time before (restored from a copy)
 *   - leases live on the virtual clock; a change of etcd's leader gives all of them their whole time again
 *   - watches are late, are told twice, and break: then the one hint after that is "anything"
 * Everything is drawn from the scheduler's seed.
 */
import { PlayheadError } from '../../protocol/errors.ts'
import { ClusterState } from '../../replication/cluster-state.ts'
import { MetadataTable } from '../../replication/metadata-table.ts'
import { checkTransaction } from '../../replication/metadata-store.ts'
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
} from '../../replication/metadata-store.ts'
import type { ScheduledEvent, Scheduler } from '../sim/scheduler.ts'
import type { SimulatedProcess } from '../sim/simulated-process.ts'

interface SimulatedLease {
  readonly ttlMs: number
  end: ScheduledEvent
}

interface EtcdCopy {
  readonly revision: number
  readonly entries: readonly MetadataEntry[]
}

export class SimulatedEtcd {
  readonly scheduler: Scheduler
  /** Answers nothing, and no lease ends: nobody is there to end it. */
  isDown = false
  storeId: string
  #table = new MetadataTable(1)
  readonly #leases = new Map<string, SimulatedLease>()
  readonly #watchers = new Set<(key: string | undefined) => void>()
  /** Every value that a key ever had, in order: what the tests look back on. */
  readonly history: { readonly key: string; readonly entry: MetadataEntry | undefined }[] = []

  constructor(scheduler: Scheduler, storeId = 'simulated') {
    this.scheduler = scheduler
    this.storeId = storeId
  }

  get table(): MetadataTable {
    return this.#table
  }

  /** What it has, now, as brokers understand it. */
  get state(): ClusterState {
    const state = new ClusterState((error) => {
      throw error
    })
    state.replace(this.#table.range('/'), this.#table.revision)
    return state
  }

  mark(): StoreMark {
    return { storeId: this.storeId, revision: this.#table.revision }
  }

  transact(transaction: Transaction): TransactionResult {
    const changed = this.#table.apply(transaction)
    if (changed === undefined) return { outcome: 'refused', ...this.mark() }
    this.#tell(changed)
    return { outcome: 'done', ...this.mark() }
  }

  grantLease(ttlMs: number): Lease {
    const leaseId = this.scheduler.random.below(2 ** 32).toString(16)
    this.#table.addLease(leaseId)
    this.#leases.set(leaseId, { ttlMs, end: this.#expiry(leaseId, ttlMs) })
    return { ...this.mark(), leaseId, ttlMs }
  }

  keepLease(leaseId: string): boolean {
    const lease = this.#leases.get(leaseId)
    if (lease === undefined) return false
    lease.end.cancel()
    lease.end = this.#expiry(leaseId, lease.ttlMs)
    return true
  }

  endLease(leaseId: string): void {
    this.#leases.get(leaseId)?.end.cancel()
    this.#leases.delete(leaseId)
    this.#tell(this.#table.endLease(leaseId))
  }

  /** etcd has another leader, or was started again: leases last their whole time from now, watches break. */
  changeLeader(): void {
    for (const leaseId of this.#leases.keys()) this.keepLease(leaseId)
    for (const watcher of this.#watchers) watcher(undefined)
  }

  copy(): EtcdCopy {
    return { revision: this.#table.revision, entries: this.#table.range('') }
  }

  /** Leases are not part of it in this model: their keys are gone, as they soon are in etcd. */
  restore({ revision, entries }: EtcdCopy): void {
    this.#table = new MetadataTable(
      revision,
      entries.filter(({ leaseId }) => leaseId === undefined),
    )
    for (const { end } of this.#leases.values()) end.cancel()
    this.#leases.clear()
    for (const watcher of this.#watchers) watcher(undefined)
  }

  watch(watcher: (key: string | undefined) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  #tell(keys: readonly string[]): void {
    for (const key of keys) {
      this.history.push({ key, entry: this.#table.get(key) })
      for (const watcher of this.#watchers) watcher(key)
    }
  }

  #expiry(leaseId: string, ttlMs: number): ScheduledEvent {
    return this.scheduler.after(ttlMs, 'etcd lease', () => {
      const lease = this.#leases.get(leaseId)
      if (lease === undefined) return
      // Not while it is down; then it begins again.
      if (this.isDown) lease.end = this.#expiry(leaseId, ttlMs)
      else this.endLease(leaseId)
    })
  }
}

export interface SimulatedFaults {
  /** Nothing gets through either way. */
  isCut: boolean
  /** Requests get through, answers and hints do not. */
  isDeaf: boolean
  /** One request in so many is lost, and one answer; 0 = none. */
  lostOneIn: number
  /** One request in so many takes longer than its client waits. */
  lateOneIn: number
  /** One hint in so many breaks its watch instead. */
  brokenWatchOneIn: number
}

const requestMsMax = 2_000
const lateMsMax = 20_000
const watchAgainMs = 500

export class SimulatedMetadataStore implements MetadataStore {
  readonly faults: SimulatedFaults = { isCut: false, isDeaf: false, lostOneIn: 0, lateOneIn: 0, brokenWatchOneIn: 0 }
  readonly #etcd: SimulatedEtcd
  readonly #process: SimulatedProcess
  readonly #watches = new Set<() => void>()
  #isClosed = false

  constructor(etcd: SimulatedEtcd, process: SimulatedProcess) {
    this.#etcd = etcd
    this.#process = process
  }

  get(key: string): Promise<StoreMark & { readonly entry: MetadataEntry | undefined }> {
    return this.#call(() => ({ ...this.#etcd.mark(), entry: this.#etcd.table.get(key) }))
  }

  range(prefix: string): Promise<MetadataRange> {
    return this.#call(() => ({ ...this.#etcd.mark(), entries: this.#etcd.table.range(prefix) }))
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction)
    try {
      return await this.#call(() => this.#etcd.transact(transaction))
    } catch (error) {
      if (error instanceof PlayheadError && error.code === 'closed') throw error
      return { outcome: 'unknown', reason: error instanceof Error ? error.message : String(error) }
    }
  }

  grantLease(ttlMs: number): Promise<Lease> {
    return this.#call(() => this.#etcd.grantLease(ttlMs))
  }

  keepLease(leaseId: string): Promise<boolean> {
    return this.#call(() => this.#etcd.keepLease(leaseId))
  }

  revokeLease(leaseId: string): Promise<void> {
    return this.#call(() => this.#etcd.endLease(leaseId))
  }

  watch(prefix: string, onHint: OnHint): Watch {
    const { scheduler } = this.#etcd
    let isOpen = true
    let isBroken = false
    const tell = (key: string | undefined) => {
      this.#process.after(scheduler.between(0.1, 20), 'metadata hint', () => isOpen && onHint(key))
    }
    const again = (): void => {
      isBroken = true
      this.#process.after(scheduler.between(1, watchAgainMs), 'metadata watch', () => {
        if (!isOpen) return
        if (this.faults.isCut || this.faults.isDeaf || this.#etcd.isDown) return again()
        isBroken = false
        tell(undefined)
      })
    }
    const unwatch = this.#etcd.watch((key) => {
      if (isBroken || (key !== undefined && !key.startsWith(prefix))) return
      const isUnheard = this.faults.isCut || this.faults.isDeaf
      if (key === undefined || isUnheard || this.#isOneIn(this.faults.brokenWatchOneIn)) return again()
      tell(key)
      if (scheduler.oneIn(50)) tell(key)
    })
    const close = () => {
      isOpen = false
      unwatch()
      this.#watches.delete(close)
    }
    this.#watches.add(close)
    again()
    return { close }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const close of this.#watches) close()
  }

  #isOneIn(times: number): boolean {
    return times > 0 && this.#etcd.scheduler.oneIn(times)
  }

  #call<T>(apply: () => T): Promise<T> {
    if (this.#isClosed)
      return Promise.reject(new PlayheadError('closed', 'simulated etcd: found it closed, wanted it open'))
    if (!this.#process.isAlive) return new Promise(() => undefined)
    const { scheduler } = this.#etcd
    const { faults } = this
    return new Promise((resolve, reject) => {
      const timer = this.#process.after(requestMsMax, 'metadata timeout', () =>
        reject(
          new PlayheadError(
            'unavailable',
            `simulated etcd: found no answer after ${requestMsMax} ms, wanted one; try again`,
          ),
        ),
      )
      if (faults.isCut || this.#isOneIn(faults.lostOneIn)) return
      const isLate = this.#isOneIn(faults.lateOneIn)
      // What is on its way arrives, whether its process still lives or not.
      scheduler.after(
        isLate ? scheduler.between(requestMsMax, lateMsMax) : scheduler.between(0.1, 5),
        'to etcd',
        () => {
          if (this.#etcd.isDown) return
          const answer = apply()
          if (faults.isCut || faults.isDeaf || this.#isOneIn(faults.lostOneIn)) return
          this.#process.after(scheduler.between(0.1, 5), 'from etcd', () => {
            timer.cancel()
            resolve(answer)
          })
        },
      )
    })
  }
}
