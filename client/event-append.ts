/**
 * EventAppend: one atomic append of events to streams of one partition, from what the user wrote to what the broker answered.
 * Everything is checked before anything is sent. Called by EventStream and Topic; calls the partition's AppendLane, which lets
 * appends that wait at the same time travel in one frame.
 */
import { listen, unlisten } from '../platform/abort.ts'
import type { AbortListener } from '../platform/abort.ts'
import type { Expectation } from '../protocol/append.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { encodeEvent } from '../protocol/event.ts'
import type { EventInput } from '../protocol/event.ts'
import { partitionOf } from '../protocol/murmur2.ts'
import { checkStream } from '../protocol/names.ts'
import { encodeRecordBatch, renumbered } from '../protocol/record-batch.ts'
import type { RecordInput } from '../protocol/record.ts'
import type { AppendLane, LaneBatch, LaneEntry, Numbering, Written } from './append-lane.ts'
import { expectationOf } from './expected-version.ts'
import type { ExpectedVersion } from './expected-version.ts'
import type { TopicLayout, TopicState, WaitOptions } from './topic-state.ts'

export interface StreamAppend {
  readonly stream: string
  /** None are needed if `expectedVersion` is given: a condition on a stream that is not written. */
  readonly events: readonly EventInput[]
  readonly expectedVersion?: ExpectedVersion | undefined
}

export interface AppendPlan {
  readonly records: readonly RecordInput[]
  readonly expected: readonly Expectation[]
}

/** Encodes the events and their conditions. Throws invalidEvent, invalidStream, invalidExpectedVersion or invalidArgument. */
export function planAppend(state: TopicState, appends: readonly StreamAppend[]): AppendPlan {
  const timestampMs = state.cluster.clock.now()
  if (appends.length > 1) checkDistinct(state, appends)
  // map, not push: an array that grows begins with room for 17, and thousands of these wait at the same time.
  const plans = appends.map(({ stream, events, expectedVersion }) => {
    checkStream(stream)
    return {
      expected: expectationOf(state.name, stream, expectedVersion),
      records: events.map((event) => encodeEvent(stream, event, { id: state.nextId(timestampMs), timestampMs })),
    }
  })
  const records = plans.length === 1 ? plans[0]!.records : plans.flatMap((plan) => plan.records)
  const expected = plans.length === 1 ? plans[0]!.expected : plans.flatMap((plan) => plan.expected)
  if (records.length === 0) {
    throw new PlayheadError('invalidEvent', `append to ${state.name}: found no event, wanted at least one`)
  }
  return { records, expected }
}

function checkDistinct(state: TopicState, appends: readonly StreamAppend[]): void {
  const streams = new Set<string>()
  for (const { stream } of appends) {
    if (streams.has(stream)) {
      throw new PlayheadError(
        'invalidArgument',
        `append to ${state.name}: found stream ${stream} twice, wanted each once with all its events`,
      )
    }
    streams.add(stream)
  }
}

/** The one partition of all the streams. Throws wrongPartition naming two that are not together. */
export function commonPartition(state: TopicState, layout: TopicLayout, appends: readonly StreamAppend[]): number {
  const first = appends[0]!.stream
  const partition = partitionOf(first, layout.partitions, layout.partitionBy)
  for (const { stream } of appends) {
    const other = partitionOf(stream, layout.partitions, layout.partitionBy)
    if (other === partition) continue
    throw new PlayheadError(
      'wrongPartition',
      `append to ${state.name}: found ${first} in partition ${partition} and ${stream} in partition ${other}, wanted all streams of one append in one; use a topic of one partition, or partition.by=prefix:<separator>`,
      { partition, otherPartition: other, stream: first, otherStream: stream },
    )
  }
  return partition
}

/** Rejects, never throws. `answer` makes what the caller resolves with. */
export function appendEvents<T>(
  state: TopicState,
  appends: readonly StreamAppend[],
  options: WaitOptions,
  answer: (written: Written, eventCount: number) => T,
): Promise<T> {
  try {
    options.signal?.throwIfAborted()
    const plan = planAppend(state, appends)
    // Without a wait where none is needed: thousands of appends may be on their way at once, and each turn costs them all.
    const { knownLayout } = state
    if (knownLayout !== undefined) {
      return submit(state, commonPartition(state, knownLayout, appends), plan, options, answer)
    }
    return state.layout(options).then((layout) => {
      const partition = commonPartition(state, layout, appends)
      options.signal?.throwIfAborted()
      return submit(state, partition, plan, options, answer)
    })
  } catch (error) {
    return Promise.reject(error)
  }
}

function submit<T>(
  state: TopicState,
  partition: number,
  plan: AppendPlan,
  { signal, timeoutMs = state.cluster.timeoutMs }: WaitOptions,
  answer: (written: Written, eventCount: number) => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const append = new PendingAppend(state, plan, { signal, timeoutMs }, { answer, resolve, reject })
    append.enter(state.eventLane(partition))
  })
}

interface Outcome<T> {
  readonly answer: (written: Written, eventCount: number) => T
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/**
 * One append on its way. Thousands may be under way at once, and what lives as long as they do is what the collector's time goes into:
 * so it is one object, without a function of its own, and what was only needed to encode it is gone once it is encoded.
 */
class PendingAppend<T> implements LaneBatch, AbortListener {
  readonly recordCount: number
  readonly expected: readonly Expectation[]
  readonly wantVersions = true
  readonly timeoutMs: number
  #records: readonly RecordInput[]
  #bytes: Buffer | undefined
  #lane: AppendLane | undefined
  #entry: LaneEntry | undefined
  readonly #state: TopicState
  readonly #signal: AbortSignal | undefined
  readonly #answer: Outcome<T>['answer']
  readonly #resolve: Outcome<T>['resolve']
  readonly #reject: Outcome<T>['reject']

  constructor(
    state: TopicState,
    { records, expected }: AppendPlan,
    { signal, timeoutMs }: { readonly signal: AbortSignal | undefined; readonly timeoutMs: number },
    { answer, resolve, reject }: Outcome<T>,
  ) {
    this.recordCount = records.length
    this.expected = expected
    this.timeoutMs = timeoutMs
    this.#records = records
    this.#state = state
    this.#signal = signal
    this.#answer = answer
    this.#resolve = resolve
    this.#reject = reject
  }

  enter(lane: AppendLane): void {
    this.#lane = lane
    this.#entry = lane.enqueue(this)
    if (this.#signal !== undefined && this.#entry !== undefined) listen(this.#signal, this)
  }

  encode(numbering: Numbering): Buffer {
    this.#bytes =
      this.#bytes === undefined ? encodeRecordBatch(this.#records, numbering) : renumbered(this.#bytes, numbering)
    this.#records = noRecords
    return this.#bytes
  }

  written(written: Written): void {
    if (this.#signal !== undefined) unlisten(this.#signal, this)
    this.#resolve(this.#answer(written, this.recordCount))
  }

  failed(error: unknown): void {
    if (this.#signal !== undefined) unlisten(this.#signal, this)
    if (saysTopicChanged(error)) this.#state.forget()
    this.#reject(error)
  }

  onAbort(reason: unknown): void {
    if (this.#entry !== undefined) this.#lane?.giveUp(this.#entry, reason)
  }
}

const noRecords: readonly RecordInput[] = []

function saysTopicChanged(error: unknown): boolean {
  if (!isPlayheadError(error)) return false
  return error.code === 'unknownTopic' || error.code === 'unknownPartition' || error.code === 'wrongPartition'
}
