/**
 * Controller: one broker at a time repairs what others left: partitions without a leader, brokers to fence, reassignments to end, topics half made.
 * Every broker runs one and campaigns with its lease; all it does is what controller-plan.ts says of a fresh look, so a controller may
 * die anywhere and another one goes on, and two at one time cannot do harm: each change names the controller it comes from.
 * Invariant: whatever it sends is refused once the key that made it controller is gone.
 * Neighbours: Session owns it; change-batches.ts sends its changes, topic-changes.ts ends what is left of topics.
 */
import { sleep } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { sendChanges } from './change-batches.ts'
import type { ClusterImage } from './cluster-image.ts'
import { readClusterState } from './cluster-state.ts'
import type { ClusterState } from './cluster-state.ts'
import { planChanges } from './controller-plan.ts'
import type { ControllerPlan, PlannedFencing } from './controller-plan.ts'
import type { HeldLease } from './held-lease.ts'
import { metadataKeys } from './metadata-keys.ts'
import { writeRecord } from './metadata-records.ts'
import type { Compare } from './metadata-store.ts'
import { newNonce } from './partition-change.ts'
import type { ChangeFoundation } from './partition-change.ts'
import { clearTopic, completeTopic } from './topic-changes.ts'

export interface ControllerOptions extends ChangeFoundation {
  readonly broker: number
  readonly image: ClusterImage
  readonly lease: HeldLease
  readonly report: (level: 'info' | 'warn', message: string) => void
}

/** Without a change in the cluster it looks again this often: for what only time brings. */
const lookAgainMs = 5_000
const pauseAfterFailureMs = 500
/** How long a leader may stay where it is not preferred: a broker that has just come back shows first that it stays. */
const imbalancedMsMax = 10_000
/** How long whoever makes or deletes a topic is left to it. */
const unfinishedMsMax = 5_000

export class Controller {
  /** Since it was made. */
  readonly stats = { campaignsWon: 0, passes: 0, changes: 0, elections: 0, fencings: 0 }
  readonly #options: ControllerOptions
  readonly #ended = new AbortController()
  readonly #working: Promise<void>
  #woken = Promise.withResolvers<void>()
  /** Its epoch, while it believes that it is the controller. */
  #epoch: number | undefined
  /** Since when something waits: partitions that are imbalanced, topics that are unfinished. */
  #since = new Map<string, number>()

  constructor(options: ControllerOptions) {
    this.#options = options
    const unlisten = options.image.onChange(() => this.#woken.resolve())
    this.#working = this.#work().finally(unlisten)
  }

  /** Whether it was the controller when it last looked. */
  get isController(): boolean {
    return this.#epoch !== undefined
  }

  async stop(): Promise<void> {
    this.#ended.abort()
    this.#woken.resolve()
    await this.#working
  }

  async #work(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#ended
    while (!signal.aborted) {
      this.#woken = Promise.withResolvers()
      const hasMore = await this.#tryToLook()
      if (hasMore) continue
      const timer = clock.after(lookAgainMs, () => this.#woken.resolve())
      await this.#woken.promise
      timer.cancel()
    }
  }

  /** What fails now is tried again: everything stands on what is read then. */
  async #tryToLook(): Promise<boolean> {
    const { report, clock } = this.#options
    const { signal } = this.#ended
    try {
      return await this.#look()
    } catch (error) {
      if (signal.aborted) return false
      // That the store is away is said by the image, once.
      const isAway = error instanceof PlayheadError && error.code === 'unavailable'
      if (!isAway) report('warn', `controller: ${error instanceof PlayheadError ? error.message : String(error)}`)
      await sleep(clock, pauseAfterFailureMs, signal).catch(() => undefined)
      return error instanceof PlayheadError && error.retriable
    }
  }

  /** True when it should look again at once. */
  async #look(): Promise<boolean> {
    if (this.#options.lease.isLost) {
      this.#epoch = undefined
      return false
    }
    if (!this.#isStillController() && !(await this.#campaign())) return false
    // What is read here and now; the image is only what woke us.
    if (!this.#hasWork(this.#options.image.state)) return false
    const state = await readClusterState(this.#options.store)
    if (state.controller?.controllerEpoch !== this.#epoch) {
      this.#epoch = undefined
      return true
    }
    return this.#pass(state)
  }

  #isStillController(): boolean {
    const { controller } = this.#options.image.state
    if (this.#epoch === undefined) return false
    // The image may be older than our being elected; that it is somebody later ends it.
    if (controller === undefined || controller.controllerEpoch <= this.#epoch) return true
    this.#epoch = undefined
    return false
  }

  /** True when it is the controller now. */
  async #campaign(): Promise<boolean> {
    const { store, lease, broker, image, report } = this.#options
    const key = metadataKeys.controller
    const { controller } = image.state
    if (controller !== undefined && controller.broker !== broker) return false
    const value = writeRecord({ broker })
    const put = { kind: 'put', key, value, leaseId: lease.leaseId } as const
    await store.transact({ compares: [{ key, modRevision: 0 }], changes: [put] })
    // Whatever came of it, also when the answer was lost: the lease says whose the key is.
    const { entry } = await store.get(key)
    if (entry === undefined || entry.leaseId !== lease.leaseId) return false
    this.#epoch = entry.createRevision
    this.#since.clear()
    this.stats.campaignsWon++
    report('info', `broker ${broker} is the controller, epoch ${entry.createRevision}`)
    return true
  }

  #hasWork(state: ClusterState): boolean {
    const { changes, fencings, imbalanced } = this.#plan(state)
    this.#keepTimes([...imbalanced, ...unfinished(state)])
    return changes.length > 0 || fencings.length > 0 || this.#overdueTopics(state).length > 0
  }

  async #pass(state: ClusterState): Promise<boolean> {
    const { store, random: _, ...rest } = this.#options
    const { changes, fencings } = this.#plan(state)
    this.stats.passes++
    const { done, isUnknown } = await sendChanges(store, changes, this.#sender())
    this.stats.changes += done.length
    for (const { topicId, partition, seen, changed } of done) {
      if (changed.leader === seen.state.leader) continue
      this.stats.elections++
      const led = changed.leader === null ? 'nobody can lead' : `broker ${changed.leader} leads`
      rest.report(
        changed.leader === null ? 'warn' : 'info',
        `${nameOf(state, topicId)}/${partition}: ${led}, epoch ${changed.leaderEpoch}`,
      )
    }
    if (isUnknown) return true
    for (const fencing of fencings) await this.#fence(fencing)
    for (const { topicId, isDeleting } of this.#overdueTopics(state)) {
      await (isDeleting ? clearTopic(this.#options, topicId) : completeTopic(this.#options, topicId))
    }
    return changes.length > 0 || fencings.length > 0
  }

  async #fence({ broker, brokerEpoch, modRevision }: PlannedFencing): Promise<void> {
    const { store, report } = this.#options
    const key = metadataKeys.fenced(broker)
    const { outcome } = await store.transact({
      compares: [
        ...this.#sender(),
        { key, modRevision },
        { key: metadataKeys.session(broker), createRevisionIsNot: brokerEpoch },
      ],
      changes: [{ kind: 'put', key, value: writeRecord({ brokerEpoch }) }],
    })
    if (outcome !== 'done') return
    this.stats.fencings++
    report('info', `broker ${broker} is gone: no in-sync set has its epoch ${brokerEpoch} any more`)
  }

  #plan(state: ClusterState): ControllerPlan {
    const { clock, random } = this.#options
    const nowMs = clock.monotonicMs()
    const mayRebalance = (key: string) => nowMs - (this.#since.get(key) ?? nowMs) >= imbalancedMsMax
    return planChanges(state, { newNonce: () => newNonce(random), mayRebalance })
  }

  #overdueTopics(state: ClusterState): { topicId: string; isDeleting: boolean }[] {
    const nowMs = this.#options.clock.monotonicMs()
    return [...unfinished(state)]
      .filter((key) => nowMs - (this.#since.get(key) ?? nowMs) >= unfinishedMsMax)
      .map((key) => key.slice(metadataKeys.topics.length))
      .map((topicId) => ({ topicId, isDeleting: state.topics.get(topicId)?.record.state === 'deleting' }))
  }

  /** Forgets those that do not wait any more. */
  #keepTimes(keys: readonly string[]): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#since = new Map(keys.map((key) => [key, this.#since.get(key) ?? nowMs]))
  }

  #sender(): Compare[] {
    return [{ key: metadataKeys.controller, createRevision: this.#epoch ?? -1 }]
  }
}

function* unfinished(state: ClusterState): Generator<string> {
  for (const { topicId, record } of state.topics.values())
    if (record.state !== 'ready') yield metadataKeys.topic(topicId)
}

function nameOf(state: ClusterState, topicId: string): string {
  return state.topics.get(topicId)?.record.name ?? topicId
}
