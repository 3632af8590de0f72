/**
 * Session: this broker's place in the cluster: a lease, a controller that campaigns with it, and its registration; again and again for as long as it
 * runs, since a lease may be lost at any time. While the metadata store cannot be reached nothing is given up: what was agreed on holds.
 * Invariants: the broker acts under an epoch only from its registration until its lease is known to be gone; who it is never changes under one epoch.
 * Neighbours: registration.ts is the gate, ClusterImage what everybody looks at, Partition acts under `brokerEpoch`.
 */
import { sleep, within } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { sendChanges } from './change-batches.ts'
import type { ClusterImage } from './cluster-image.ts'
import { readClusterState } from './cluster-state.ts'
import { Controller } from './controller.ts'
import type { PlannedChange } from './controller-plan.ts'
import { HeldLease } from './held-lease.ts'
import { next } from './isr-change.ts'
import { isRegistered } from './isr-transaction.ts'
import type { BrokerRecord } from './metadata-records.ts'
import { newNonce } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'
import { register } from './registration.ts'
import type { LostReplica } from './registration.ts'

export interface SessionOptions extends ChangeFoundation {
  readonly broker: number
  readonly record: BrokerRecord
  readonly image: ClusterImage
  readonly ttlMs: number
  /** What recovery found; struck before the first registration. */
  readonly lost: readonly LostReplica[]
  /** Whether the data path has moved lately: a broker that stands still must not look alive. */
  readonly isAlive: () => boolean
  readonly report: (level: 'info' | 'warn', message: string) => void
  /** Registered, under this epoch; undefined: not any more, until it is again. */
  readonly onEpoch: (brokerEpoch: number | undefined) => void
  /** Refused for good after it had been registered: another broker has taken its id. It must stop. */
  readonly onRefused: (error: PlayheadError) => void
}

const pauseMs = 500
const stopMsMax = 3_000

export class Session {
  readonly #options: SessionOptions
  readonly #ended = new AbortController()
  readonly #registered = Promise.withResolvers<void>()
  readonly #working: Promise<void>
  #brokerEpoch: number | undefined
  #wasRegistered = false
  #lease: HeldLease | undefined
  #controller: Controller | undefined
  /** By controllers under leases before this one. */
  #electionsBefore = 0

  private constructor(options: SessionOptions) {
    this.#options = options
    this.#working = this.#work()
  }

  /**
   * Resolves when the broker is registered; waits for the metadata store as long as that takes. Throws brokerIdInUse, dataDirectoryMismatch,
   * metadataStoreRefused, metadataStoreReplaced.
   */
  static async start(options: SessionOptions): Promise<Session> {
    const session = new Session(options)
    try {
      await session.#registered.promise
      return session
    } catch (error) {
      await session.stop()
      throw error
    }
  }

  /** Undefined while the broker is not registered. */
  get brokerEpoch(): number | undefined {
    return this.#brokerEpoch
  }

  /** The store has not confirmed the session within its time: others may lead by now. For people and metrics; nothing is decided by it. */
  get isDoubtful(): boolean {
    return this.#lease?.isDoubtful ?? true
  }

  get controller(): Controller | undefined {
    return this.#controller
  }

  /** Changes of leaders that this broker made as the controller, since it started. */
  get elections(): number {
    return this.#electionsBefore + (this.#controller?.stats.elections ?? 0)
  }

  /** Hands its leaderships over, leaves the in-sync sets and gives the session back, all as far as the store can be reached within `waitMs`. */
  async leave(waitMs: number): Promise<void> {
    const { clock } = this.#options
    const handingOver = this.#handOver().catch((error: unknown) => this.#say('leaves as it is', error))
    await within(clock, waitMs, handingOver)
    await this.stop()
  }

  /** Gives the session back, and nothing more. */
  async stop(): Promise<void> {
    this.#ended.abort(
      new PlayheadError('stopping', `broker ${this.#options.broker}: found it stopping, wanted it running`),
    )
    await this.#working
  }

  async #work(): Promise<void> {
    const { signal } = this.#ended
    let lost = this.#options.lost
    while (!signal.aborted) {
      try {
        await this.#live(lost)
        // Still the same process: what it holds it can vouch for.
        lost = []
      } catch (error) {
        if (signal.aborted) break
        if (isPlayheadError(error) && !error.retriable) return this.#refused(error)
        this.#say('tries again', error)
        await pause(this.#options.clock, signal)
      }
    }
    this.#registered.promise.catch(() => undefined)
    this.#registered.reject(signal.reason)
  }

  /** One lease, from its granting to its end. */
  async #live(lost: readonly LostReplica[]): Promise<void> {
    const { store, clock, random, broker, record, image, ttlMs, isAlive, report, onEpoch } = this.#options
    const { signal } = this.#ended
    const over = Promise.withResolvers<void>()
    const lease = await HeldLease.grant({ store, clock, ttlMs, isAlive, onLost: over.resolve })
    this.#lease = lease
    this.#electionsBefore = this.elections
    const controller = new Controller({ store, clock, random, broker, image, lease, report })
    this.#controller = controller
    const stop = () => over.resolve()
    signal.addEventListener('abort', stop, { once: true })
    try {
      const foundation = { store, clock, random }
      this.#brokerEpoch = await register({ ...foundation, broker, record, lease, lost, report, signal })
      report('info', `broker ${broker}: registered, epoch ${this.#brokerEpoch}`)
      this.#wasRegistered = true
      onEpoch(this.#brokerEpoch)
      this.#registered.resolve()
      await over.promise
      if (!signal.aborted)
        report('warn', `broker ${broker}: its session ended (epoch ${this.#brokerEpoch}); registers again`)
    } finally {
      signal.removeEventListener('abort', stop)
      if (this.#brokerEpoch !== undefined) onEpoch(undefined)
      this.#brokerEpoch = undefined
      // With a store that does not answer this would take long: what is left behind ends by itself, and can change nothing.
      await within(clock, stopMsMax, Promise.all([controller.stop(), lease.close()]))
    }
  }

  async #handOver(): Promise<void> {
    const { store, random, broker } = this.#options
    const brokerEpoch = this.#brokerEpoch
    if (brokerEpoch === undefined) return
    const state = await readClusterState(store)
    const electable = state.live().filter((other) => other !== broker && !state.draining.has(other))
    const changes: PlannedChange[] = []
    for (const { topicId, partition, ...seen } of state.allPartitions()) {
      const changed = next(seen.state, { kind: 'brokersGone', gone: [broker], electable }, newNonce(random))
      // Without anybody to go on it keeps its place: the last one in sync is the first to come back.
      if (changed === seen.state || changed.leader === null) continue
      const { leader } = changed
      const elected =
        leader === seen.state.leader
          ? []
          : [isRegistered({ broker: leader, brokerEpoch: state.sessions.get(leader)!.brokerEpoch })]
      changes.push({ topicId, partition, seen, changed, compares: elected })
    }
    await sendChanges(store, changes, [isRegistered({ broker, brokerEpoch })])
  }

  #refused(error: PlayheadError): void {
    if (this.#wasRegistered) this.#options.onRefused(error)
    else this.#registered.reject(error)
  }

  #say(what: string, error: unknown): void {
    const { broker, report } = this.#options
    report('warn', `broker ${broker}: ${what}: ${error instanceof PlayheadError ? error.message : String(error)}`)
  }
}

function pause(clock: Clock, signal: AbortSignal): Promise<void> {
  return sleep(clock, pauseMs, signal).catch(() => undefined)
}
