/**
 * Derivation: one run that applies a topic's events to the states of one view version and commits as it goes. Invariant: what is in the
 * store is always a whole number of batches applied, states and offsets together; what fails or is aborted between two commits is
 * dropped whole, so the next run applies it again and nothing is counted twice. Called by view.ts; reads topics through the client.
 */
import assert from 'node:assert/strict'
import type { ReplayBatch, ReplayRecord } from '../client/index.ts'
import { systemClock } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { applyFailure } from './apply-failure.ts'
import { viewKeyBytesMax } from './view-definition.ts'
import type { ViewDefinition } from './view-definition.ts'
import { ViewStates } from './view-states.ts'
import { superseded } from './view-tables.ts'
import type { VersionRecord, ViewTables } from './view-tables.ts'

/** How far a derivation has come. Committed: a crash now would resume here. */
export interface ViewProgress {
  /** Events applied since the version's beginning, in all runs. */
  readonly events: number
  /** Events a second applied by this run, so far. */
  readonly eventsPerSecond: number
  /** Per partition, the next offset to apply. */
  readonly offsets: readonly number[]
  /** Per partition, the high watermark that was last seen. */
  readonly highWatermarks: readonly number[]
}

export class Derivation<State> {
  readonly #view: ViewDefinition<State>
  readonly #tables: ViewTables
  readonly #states: ViewStates<State>
  readonly #report: (progress: ViewProgress) => void
  readonly #startedMs = systemClock.monotonicMs()
  #record: VersionRecord | undefined
  #live: number | undefined
  #topicId = ''
  #offsets: number[] = []
  #highWatermarks: number[] = []
  #events = 0
  #eventsNow = 0
  /** Records passed since the last commit, applied or not. */
  #uncommitted = 0
  #firstUncommittedMs = 0

  private constructor(view: ViewDefinition<State>, tables: ViewTables, report: (progress: ViewProgress) => void) {
    this.#view = view
    this.#tables = tables
    this.#report = report
    this.#states = new ViewStates(tables, view.version, view.makeInitial)
    this.#record = tables.record(view.version)
    this.#live = tables.live()
    this.#events = this.#record?.events ?? 0
  }

  /** Asks where the topic ends and goes on from where the version stands. Throws viewTopicMismatch, viewSuperseded, unsupportedFormat. */
  static async begin<State>(
    view: ViewDefinition<State>,
    tables: ViewTables,
    report: (progress: ViewProgress) => void,
    signal: AbortSignal | undefined,
  ): Promise<Derivation<State>> {
    tables.checkFormat()
    const derivation = new Derivation(view, tables, report)
    if (derivation.#live !== undefined && derivation.#live > view.version) {
      throw superseded(view.name, view.version, derivation.#live)
    }
    await derivation.#look(signal)
    return derivation
  }

  /** Applies what is committed now, and makes this version the one that answers. */
  async catchUp(signal: AbortSignal | undefined): Promise<ViewProgress> {
    for (;;) {
      await this.#apply('catchUp', signal)
      await this.#commit('swap')
      if (this.#live === this.#view.version) break
      // The version that answers has seen more meanwhile: one more, shorter round, so that the view never goes back in time.
      await this.#look(signal)
    }
    await this.#tables.dropBefore(this.#view.version)
    return this.progress
  }

  /** Goes on with what comes, until the signal aborts. To be called after catchUp. */
  async follow(signal: AbortSignal | undefined): Promise<void> {
    await this.#apply('follow', signal)
  }

  async #look(signal: AbortSignal | undefined): Promise<void> {
    const { topicId, partitions } = await this.#view.topic.describe({ signal })
    this.#topicId = topicId
    if (this.#record !== undefined && this.#record.topicId !== topicId) throw this.#topicMismatch(this.#record)
    for (const { partition, logStartOffset, highWatermark } of partitions) {
      this.#offsets[partition] ??= this.#record?.offsets[partition] ?? logStartOffset
      this.#highWatermarks[partition] = highWatermark
    }
  }

  /** Reads and applies; commits on the way, and at the end, also at an end by the signal. */
  async #apply(mode: 'catchUp' | 'follow', signal: AbortSignal | undefined): Promise<void> {
    // Ours too: leaving early must wake a reader that waits for events.
    const leaving = new AbortController()
    const ends = signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal])
    const from = this.#offsets.map((offset, partition) => ({ partition, offset }))
    const replay = this.#view.topic.replay({ from, follow: mode === 'follow', signal: ends, types: this.#view.types })
    const batches = replay[Symbol.asyncIterator]()
    try {
      for (const { partition, untilOffset } of await replay.ranges()) {
        if (Number.isFinite(untilOffset)) this.#highWatermarks[partition] = untilOffset
      }
      for (;;) {
        const batch = await this.#next(batches)
        if (batch === undefined) break
        await this.#applyBatch(batch)
        if (this.#isDue()) await this.#commit('stay')
      }
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error
    } finally {
      leaving.abort()
      await batches.return?.()
    }
    await this.#commit('stay')
    signal?.throwIfAborted()
  }

  /** The next batch; while it is waited for, what is applied is committed in time. */
  async #next(batches: AsyncIterator<ReplayBatch>): Promise<ReplayBatch | undefined> {
    const next = batches.next()
    if (this.#uncommitted > 0) {
      const waitMs = Math.max(0, this.#firstUncommittedMs + this.#view.commitMs - systemClock.monotonicMs())
      if ((await firstOf(next, waitMs)) === 'time') await this.#commit('stay')
    }
    const result = await next
    return result.done === true ? undefined : result.value
  }

  async #applyBatch(batch: ReplayBatch): Promise<void> {
    const { key, apply } = this.#view
    let current: ReplayRecord | undefined
    let applied = 0
    if (this.#uncommitted === 0) this.#firstUncommittedMs = systemClock.monotonicMs()
    try {
      for (const record of batch) {
        current = record
        const event = record.event()
        const stateKey = key === undefined ? '' : key(event)
        if (stateKey === undefined) continue
        checkKey(stateKey)
        const state = apply(this.#states.get(stateKey), event)
        checkState(state)
        this.#states.set(stateKey, state)
        applied++
      }
    } catch (error) {
      // Without a record it is the batch that cannot be read: the client's error says which.
      throw current === undefined ? error : await applyFailure(this.#view, current, error)
    }
    const { partition } = batch
    this.#uncommitted += batch.recordCount
    this.#events += applied
    this.#eventsNow += applied
    this.#offsets[partition] = batch.nextOffset
    this.#highWatermarks[partition] = Math.max(this.#highWatermarks[partition] ?? 0, batch.nextOffset)
  }

  #isDue(): boolean {
    if (this.#uncommitted >= this.#view.commitEvents) return true
    return systemClock.monotonicMs() - this.#firstUncommittedMs >= this.#view.commitMs
  }

  async #commit(live: 'stay' | 'swap'): Promise<void> {
    if (this.#uncommitted === 0 && (live === 'stay' || this.#live === this.#view.version)) return
    const { name, version, topic } = this.#view
    const to = { topic: topic.name, topicId: this.#topicId, offsets: [...this.#offsets], events: this.#events }
    const committed = await this.#tables.commit({ version, from: this.#record, to, states: this.#states.changed, live })
    assert(committed.live === undefined || committed.live <= version, `${name}: a higher version is live`)
    this.#record = committed.record
    this.#live = committed.live
    this.#states.committed()
    this.#uncommitted = 0
    this.#report(this.progress)
  }

  get progress(): ViewProgress {
    const seconds = (systemClock.monotonicMs() - this.#startedMs) / 1_000
    return {
      events: this.#events,
      eventsPerSecond: seconds > 0 ? Math.round(this.#eventsNow / seconds) : 0,
      offsets: [...this.#offsets],
      highWatermarks: [...this.#highWatermarks],
    }
  }

  #topicMismatch(record: VersionRecord): PlayheadError {
    const { name, version, topic } = this.#view
    return new PlayheadError(
      'viewTopicMismatch',
      `view ${name} version ${version}: found topic ${topic.name} (id ${this.#topicId}), wanted ${record.topic} (id ${record.topicId}), ` +
        `which it was derived from; derive from another topic as version ${version + 1}`,
      { view: name, version, topic: topic.name, topicId: this.#topicId },
    )
  }
}

/** Whether `promise` settled, or `waitMs` went by, first. Its rejection is left to whoever awaits it next. */
async function firstOf(promise: Promise<unknown>, waitMs: number): Promise<'promise' | 'time'> {
  return new Promise((resolve) => {
    const timer = systemClock.after(waitMs, () => resolve('time'))
    const settled = () => {
      timer.cancel()
      resolve('promise')
    }
    promise.then(settled, settled)
  })
}

function checkKey(key: unknown): asserts key is string {
  if (typeof key !== 'string') throw new TypeError(`key answered ${typeof key}, wanted a string, or undefined for none`)
  // One UTF-16 unit is at most three bytes.
  if (key.length * 3 > viewKeyBytesMax && Buffer.byteLength(key) > viewKeyBytesMax) {
    throw new RangeError(`key answered ${Buffer.byteLength(key)} bytes, wanted at most ${viewKeyBytesMax}`)
  }
}

function checkState(state: unknown): void {
  if (state === undefined) throw new TypeError('apply answered undefined, wanted the next state (is a return missing?)')
  if (state instanceof Promise) throw new TypeError('apply answered a promise, wanted a state: it must not wait')
}
