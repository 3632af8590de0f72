/**
 * EventAppend: one atomic append of events to streams of one partition, from what the user wrote to what the broker answered.
 * Everything is checked before anything is sent. Called by EventStream and Topic; calls the partition's AppendLane, which lets
 * appends that wait at the same time travel in one frame.
 */
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
  const records: RecordInput[] = []
  const expected: Expectation[] = []
  const streams = new Set<string>()
  for (const { stream, events, expectedVersion } of appends) {
    checkStream(stream)
    if (streams.has(stream)) {
      throw new PlayheadError(
        'invalidArgument',
        `append to ${state.name}: found stream ${stream} twice, wanted each once with all its events`,
      )
    }
    streams.add(stream)
    expected.push(...expectationOf(state.name, stream, expectedVersion))
    for (const event of events) records.push(encodeEvent(stream, event, { id: state.nextId(timestampMs), timestampMs }))
  }
  if (records.length === 0) {
    throw new PlayheadError('invalidEvent', `append to ${state.name}: found no event, wanted at least one`)
  }
  return { records, expected }
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

export async function appendEvents(
  state: TopicState,
  appends: readonly StreamAppend[],
  options: WaitOptions,
): Promise<Written> {
  options.signal?.throwIfAborted()
  const { records, expected } = planAppend(state, appends)
  const partition = commonPartition(state, await state.layout(options), appends)
  options.signal?.throwIfAborted()
  try {
    return await submit(state, partition, { records, expected }, options)
  } catch (error) {
    if (
      isPlayheadError(error, 'unknownTopic') ||
      isPlayheadError(error, 'unknownPartition') ||
      isPlayheadError(error, 'wrongPartition')
    ) {
      state.forget()
    }
    throw error
  }
}

function submit(
  state: TopicState,
  partition: number,
  { records, expected }: AppendPlan,
  options: WaitOptions,
): Promise<Written> {
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs = state.cluster.timeoutMs } = options
    const onAbort = () => giveUp(signal?.reason)
    const giveUp = state.eventLane(partition).enqueue({
      encode: (numbering) => encodeRecordBatch(records, { ...numbering, compression: 'none' }),
      recordCount: records.length,
      expected,
      wantVersions: true,
      timeoutMs,
      written(written) {
        signal?.removeEventListener('abort', onAbort)
        resolve(written)
      },
      failed(error) {
        signal?.removeEventListener('abort', onAbort)
        reject(error)
      },
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
