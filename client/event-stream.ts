/**
 * EventStream: one key of a topic as its events: append with an expected version, read in either direction and as of a moment, fold
 * into a state. Neighbours: Topic makes it, event-append.ts writes, this file pages through reads.
 */
import type { EventInput, StreamEvent } from '../protocol/event.ts'
import { decodeEvent } from '../protocol/event.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { MiB, eventsPerReadMax } from '../protocol/limits.ts'
import { splitBatches } from '../protocol/record-batch.ts'
import type { LogRecord } from '../protocol/record.ts'
import type { Token } from '../protocol/token.ts'
import type { Written } from './append-lane.ts'
import { checkConsistency } from './consistency.ts'
import type { ConsistencyOptions } from './consistency.ts'
import { appendEvents } from './event-append.ts'
import type { ExpectedVersion } from './expected-version.ts'
import { timeOf } from './moment.ts'
import type { Moment } from './moment.ts'
import type { Route } from './route.ts'
import type { TopicState, WaitOptions } from './topic-state.ts'

const pageEvents = 1_000
const pageBytes = MiB

export interface AppendOptions extends WaitOptions {
  /** What the stream must be at for the events to be written; default `any`. */
  readonly expectedVersion?: ExpectedVersion
}

/** Where appended events went. */
export interface Appended {
  readonly partition: number
  /** Offset of the last event; those of one append are contiguous. */
  readonly offset: number
  /** Version of the last event: what the next append may expect. */
  readonly version: number
  /** Version of every event, in the order given. */
  readonly versions: readonly number[]
  /** The broker's append time, ms since the epoch. */
  readonly appendTimeMs: number
  /** Proof of the append: a read with `after: token`, also of another client, sees it. */
  readonly token: Token
}

export interface ReadOptions extends WaitOptions, ConsistencyOptions {
  /** First version to read: forwards from 0, backwards from the last one by default. */
  readonly from?: number
  /** Events wanted at most; all by default. */
  readonly limit?: number
  readonly backwards?: boolean
  /** Only events whose own time is at or before this moment. */
  readonly asOf?: Moment
  /** Only what the broker had appended by this moment. */
  readonly knownAt?: Moment
  /** Wait until this much is readable; what this client itself has appended is always waited for. */
  readonly after?: Token
}

/** A state derived from a stream by a pure function. */
export interface Reducer<State> {
  /** The state before the first event. If `apply` changes states in place, give a function: it is called for each fold. */
  readonly initial: State | (() => State)
  readonly apply: (state: State, event: StreamEvent) => State
}

export interface Folded<State> {
  readonly state: State
  /** Version of the last event applied, or `none`: what an append decided on this state expects. */
  readonly version: number | 'none'
}

/** How much of a stream is kept; 0 = no limit. */
export interface StreamLimit {
  /** The newest events. */
  readonly maxCount: number
  /** From the append of an event, ms. */
  readonly maxAgeMs: number
  /** The first version. */
  readonly truncateBefore: number
}

export interface StreamInfo {
  readonly partition: number
  /** Version of the last event; -1 = the stream has none yet. */
  readonly lastVersion: number
  /** The first version that is still readable; -1 = none. */
  readonly firstVersion: number
  /** Offset of the last event; -1 = none. */
  readonly lastOffset: number
}

/** One stream of a topic. Cheap to make; nothing is asked of the broker before a method is called. */
export class EventStream {
  readonly name: string
  readonly #state: TopicState

  /** @internal Use `topic.stream(name)`. */
  constructor(state: TopicState, name: string) {
    this.#state = state
    this.name = name
  }

  /**
   * Appends events, all or none, and resolves when they are durable. A retry after a lost connection never duplicates.
   *
   * @throws PlayheadError `wrongExpectedVersion` (`conflicts` says what was found), `invalidExpectedVersion`, `invalidEvent`,
   * `invalidStream`, `batchTooLarge`, `unknownTopic`, `unavailable` (`details.outcome` is `unknown` if they may have been written)
   * @example
   * await carts.stream('customer-17850').append([{ type: 'ItemAdded', data: { sku: '85123A', quantity: 6 } }], { expectedVersion: 41 })
   */
  append(events: EventInput | readonly EventInput[], options: AppendOptions = {}): Promise<Appended> {
    const list = isList(events) ? events : [events]
    if (list.length === 0) {
      return Promise.reject(
        new PlayheadError(
          'invalidEvent',
          `${this.#state.name}/${this.name}: append found no event, wanted at least one`,
        ),
      )
    }
    const append = { stream: this.name, events: list, expectedVersion: options.expectedVersion }
    return appendEvents(this.#state, [append], options, appendedOf)
  }

  /**
   * The stream's events, page by page; ends at the last event there is. Nothing if there is no such stream.
   *
   * @throws PlayheadError `unknownTopic`, `invalidStream`, `invalidArgument`, `corruptBatch`, `timedOut` (of `after`, and of a linearizable read), `unavailable`
   * @example
   * for await (const event of carts.stream('customer-17850').read({ backwards: true, limit: 10 })) console.log(event.version, event.type)
   */
  async *read(options: ReadOptions = {}): AsyncGenerator<StreamEvent, void, undefined> {
    const { limit = Number.MAX_SAFE_INTEGER, backwards = false } = options
    checkCount('from', options.from, 0)
    checkCount('limit', options.limit, 1)
    let { consistency } = options
    let from = options.from
    let left = limit
    while (left > 0) {
      const pageOptions = { ...options, backwards, ...(consistency && { consistency }) }
      const page = await this.#page(pageOptions, from, Math.min(left, pageEvents, eventsPerReadMax))
      if (consistency !== undefined) consistency = 'committed' // the pages after it see at least as much, by the session's token
      yield* page.events
      left -= page.events.length
      if (page.nextVersion === undefined) return
      from = page.nextVersion
    }
  }

  /**
   * The state that the stream's events make, up to a moment if one is given.
   *
   * @throws as `read`
   * @example
   * const cart = await carts.stream('customer-17850').fold(cartOf, { asOf: '2011-03-01T12:42:00Z' })
   */
  async fold<State>(reducer: Reducer<State>, options: Omit<ReadOptions, 'backwards'> = {}): Promise<State> {
    return (await this.foldWithVersion(reducer, options)).state
  }

  /**
   * As `fold`, with the version that the state stands at: decide on the state, then append expecting that version.
   *
   * @example
   * const { state, version } = await stream.foldWithVersion(cartOf)
   * if (state.items.length < 10) await stream.append(itemAdded, { expectedVersion: version })
   */
  async foldWithVersion<State>(
    reducer: Reducer<State>,
    options: Omit<ReadOptions, 'backwards'> = {},
  ): Promise<Folded<State>> {
    const { initial, apply } = reducer
    let state = typeof initial === 'function' ? (initial as () => State)() : initial
    let version: number | 'none' = options.from !== undefined && options.from > 0 ? options.from - 1 : 'none'
    for await (const event of this.read({ ...options, backwards: false })) {
      state = apply(state, event)
      version = event.version ?? version
    }
    return { state, version }
  }

  /**
   * Where the stream stands. A stream without events is no error.
   *
   * @throws PlayheadError `unknownTopic`, `invalidStream`, `timedOut` (of `after`, and of a linearizable read), `unavailable`
   */
  async info(options: WaitOptions & ConsistencyOptions & { readonly after?: Token } = {}): Promise<StreamInfo> {
    const { after, consistency, ...wait } = options
    return this.#read(after, wait, async (token, route) => {
      const request = { topic: this.#state.name, stream: this.name, after: token, consistency }
      const answer = await this.#state.cluster.call('streamInfo', request, { policy: 'reads', route, ...wait })
      const { header } = answer
      checkConsistency(consistency, answer)
      this.#state.observe({ topicId: header.topicId, partition: header.partition, endOffset: header.highWatermark })
      const { partition, lastVersion, firstVersion, lastOffset } = header
      return { partition, lastVersion, firstVersion, lastOffset }
    })
  }

  /**
   * Keeps less of this stream than its topic does: the newest `maxCount` events, those appended within `maxAgeMs`, none before version `truncateBefore`. What is not
   * named stays as it was; 0 takes a limit away. At once for readers of the stream; replays show the rest until its space comes back. Versions are never used again. Resolves with what is in force.
   *
   * @throws PlayheadError `unknownTopic`, `invalidStream`, `invalidArgument`, `internalTopic`, `overloaded`, `unavailable`
   */
  limit(limit: Partial<StreamLimit>, options: WaitOptions = {}): Promise<StreamLimit> {
    return this.#limit({ ...limit, deletes: false }, options)
  }

  /**
   * Gives up every event there is, for ever; one appended afterwards has the version after the last. Replays may show them until compaction has removed them,
   * which it does once their segment is sealed. @throws as `limit`
   */
  delete(options: WaitOptions = {}): Promise<StreamLimit> {
    return this.#limit({ deletes: true }, options)
  }

  /** What of this stream is kept. @throws PlayheadError `unknownTopic`, `invalidStream`, `unavailable` */
  async limits(options: WaitOptions = {}): Promise<StreamLimit> {
    const request = { topic: this.#state.name, stream: this.name }
    return (await this.#state.cluster.call('streamLimit', request, { policy: 'reads', ...options })).header
  }

  async #limit(
    limit: Partial<StreamLimit> & { readonly deletes: boolean },
    options: WaitOptions,
  ): Promise<StreamLimit> {
    const { maxCount, maxAgeMs, truncateBefore, deletes } = limit
    const request = { topic: this.#state.name, stream: this.name, maxCount, maxAgeMs, truncateBefore, deletes }
    return (await this.#state.cluster.call('limitStream', request, { policy: 'changes', ...options })).header
  }

  #page(
    options: ReadOptions,
    from: number | undefined,
    limit: number,
  ): Promise<{ events: StreamEvent[]; nextVersion: number | undefined }> {
    const { backwards = false, asOf, knownAt, after, consistency, timeoutMs, signal } = options
    const wait = { ...(timeoutMs !== undefined && { timeoutMs }), ...(signal && { signal }) }
    return this.#read(after, wait, async (token, route) => {
      const request = {
        topic: this.#state.name,
        stream: this.name,
        from,
        limit,
        backwards,
        asOf: asOf === undefined ? undefined : timeOf(asOf),
        knownAt: knownAt === undefined ? undefined : timeOf(knownAt),
        maxBytes: pageBytes,
        after: token,
        consistency,
      }
      const { cluster } = this.#state
      const answer = await cluster.call('readStream', request, { policy: 'reads', route, ...wait })
      const { header, body } = answer
      checkConsistency(consistency, answer)
      this.#state.observe({ topicId: header.topicId, partition: header.partition, endOffset: header.highWatermark })
      const records: LogRecord[] = splitBatches(body).flatMap((batch) => [...batch])
      const events = records.map((record, index) =>
        decodeEvent(record, header.partition, header.versions[index] ?? null),
      )
      return { events: backwards ? events.toReversed() : events, nextVersion: header.nextVersion }
    })
  }

  /** The layout is needed only to find the session's token and the leader: without a token, and with one broker, it is not asked for. */
  async #read<T>(
    after: Token | undefined,
    wait: WaitOptions,
    read: (after: Token | undefined, route: Route | undefined) => Promise<T>,
  ): Promise<T> {
    const state = this.#state
    if (!state.hasTokens && !state.cluster.hasOthers) return read(after, undefined)
    const partition = await state.partitionOfStream(this.name, wait)
    return state.read(partition, after, (token) => read(token, state.routes.of(partition)))
  }
}

function appendedOf({ token, baseOffset, versions, appendTimeMs }: Written, eventCount: number): Appended {
  const { topicId, partition } = token
  const endOffset = baseOffset + eventCount
  return {
    partition,
    offset: endOffset - 1,
    version: versions.at(-1) ?? -1,
    versions,
    appendTimeMs,
    token: { topicId, partition, endOffset },
  }
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}

function checkCount(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return
  throw new PlayheadError('invalidArgument', `read: found ${name} ${String(value)}, wanted an integer ≥ ${least}`)
}
