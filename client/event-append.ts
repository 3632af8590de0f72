/**
 * EventAppend: one atomic append of events to streams of one partition, from what the user wrote to what the broker answered.
 * Everything is checked before anything is sent. Called by EventStream and Topic; calls the partition's AppendLane, which lets
 * appends that wait at the same time travel in one frame.
 */
import { onAbort } from '../platform/abort.ts'
import type { Expectation } from '../protocol/append.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { encodeEvent } from '../protocol/event.ts'
import type { EventInput } from '../protocol/event.ts'
import { partitionOf } from '../protocol/murmur2.ts'
import { checkStream } from '../protocol/names.ts'
import { encodeRecordBatch } from '../protocol/record-batch.ts'
import type { RecordInput } from '../protocol/record.ts'
import type { Written } from './append-lane.ts'
import { expectationOf } from './expected-version.ts'
import type { ExpectedVersion } from './expected-version.ts'
import type { TopicLayout, TopicState, WaitOptions } from './topic-state.ts'

export interface StreamAppend {
  readonly stream: string
  /** None are needed if `expectedVersion` is given: a condition on a stream that is not written. */
  readonly events: readonly EventInput[]
  readonly expectedVersion?: ExpectedVersion
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

/** Throws, rather than rejects, for what is wrong with the appends themselves. */
export function appendEvents(
  state: TopicState,
  appends: readonly StreamAppend[],
  options: WaitOptions,
): Promise<Written> {
  options.signal?.throwIfAborted()
  const plan = planAppend(state, appends)
  // Without a wait where none is needed: thousands of appends may be on their way at once, and each turn costs them all.
  const { knownLayout } = state
  if (knownLayout !== undefined) return submit(state, commonPartition(state, knownLayout, appends), plan, options)
  return state.layout(options).then((layout) => {
    const partition = commonPartition(state, layout, appends)
    options.signal?.throwIfAborted()
    return submit(state, partition, plan, options)
  })
}

function submit(
  state: TopicState,
  partition: number,
  { records, expected }: AppendPlan,
  options: WaitOptions,
): Promise<Written> {
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs = state.cluster.timeoutMs } = options
    const leave = onAbort(signal, () => giveUp(signal?.reason))
    const giveUp = state.eventLane(partition).enqueue({
      encode: (numbering) => encodeRecordBatch(records, numbering),
      recordCount: records.length,
      expected,
      wantVersions: true,
      timeoutMs,
      written(written) {
        leave?.()
        resolve(written)
      },
      failed(error) {
        leave?.()
        if (saysTopicChanged(error)) state.forget()
        reject(error)
      },
    })
  })
}

function saysTopicChanged(error: unknown): boolean {
  if (!isPlayheadError(error)) return false
  return error.code === 'unknownTopic' || error.code === 'unknownPartition' || error.code === 'wrongPartition'
}
