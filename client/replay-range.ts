/** ReplayRange: turns what the user calls a place (start, end, an offset, a time, a playhead's positions) into an offset for each partition. */
import { PlayheadError } from '../protocol/errors.ts'
import type { PlayheadPosition } from '../protocol/playhead.ts'
import { checkConsistency } from './consistency.ts'
import type { ConsistencyOptions } from './consistency.ts'
import { timeOf } from './moment.ts'
import type { TopicDescription, TopicState, WaitOptions } from './topic-state.ts'

/**
 * A place in a topic. `start`: the first record there is. `end`: what is appended from now on. A number: an offset, for one partition
 * only. A Date or text (ISO-8601, UTC where no zone is given): the first record whose time is at or after it. Positions: each
 * partition at its own offset, as a playhead keeps them; partitions not named are at their first record.
 */
export type Place = 'start' | 'end' | (string & {}) | number | Date | readonly PlayheadPosition[]

export interface PartitionRange {
  readonly partition: number
  readonly fromOffset: number
  /** Exclusive; Infinity = follow. */
  readonly untilOffset: number
}

type PartitionOffsets = Pick<TopicDescription['partitions'][number], 'partition' | 'logStartOffset' | 'highWatermark'>

export interface PlaceOptions extends WaitOptions, ConsistencyOptions {
  /** Only this partition. */
  readonly partition?: number
  /** Only these partitions; all by default. */
  readonly partitions?: readonly number[]
  /** Which time is meant: the event's own (default), or when the broker appended it. */
  readonly clock?: 'event' | 'append'
}

export interface RangeOptions extends PlaceOptions {
  /** Where to begin; default `start`. */
  readonly from?: Place
  /** Where to stop, exclusive; by default the high watermarks of the beginning, or never with `follow`. */
  readonly until?: Place
  /** Go on with what is appended later, until the signal aborts or the loop is left. */
  readonly follow?: boolean
}

export async function resolveRange(state: TopicState, options: RangeOptions): Promise<PartitionRange[]> {
  const { from = 'start', until, follow = false } = options
  const partitions = await chosenPartitions(state, options)
  const fromOffsets = await offsetsOf(state, partitions, from, options)
  for (const [index, partition] of partitions.entries()) checkInLog(state, partition, fromOffsets[index]!)
  const untilOffsets =
    until !== undefined
      ? await offsetsOf(state, partitions, until, options)
      : partitions.map((partition) => (follow ? Number.POSITIVE_INFINITY : committedEnd(state, partition)))
  return partitions.map(({ partition }, index) => ({
    partition,
    fromOffset: fromOffsets[index]!,
    untilOffset: untilOffsets[index]!,
  }))
}

/** The offset of a place in each partition. */
export async function resolvePlace(
  state: TopicState,
  place: Place,
  options: PlaceOptions,
): Promise<PlayheadPosition[]> {
  const partitions = await chosenPartitions(state, options)
  const offsets = await offsetsOf(state, partitions, place, options)
  return partitions.map(({ partition }, index) => ({ partition, offset: offsets[index]! }))
}

async function chosenPartitions(state: TopicState, options: PlaceOptions): Promise<PartitionOffsets[]> {
  const { partition, partitions = partition === undefined ? undefined : [partition] } = options
  const { description, led } = await state.routes.describe(waitOf(options))
  const numbers = partitions ?? description.partitions.map((known) => known.partition)
  const chosen = numbers.map((wanted) => {
    const found = description.partitions.find((known) => known.partition === wanted)
    if (found !== undefined) return found
    const message = `${state.name}: found partition ${wanted}, wanted 0 … ${description.partitions.length - 1}`
    throw new PlayheadError('unknownPartition', message, { partition: wanted })
  })
  // What a broker that does not lead says may be behind; and one that thinks it leads.
  const isKnown = (each: PartitionOffsets) => led.has(each.partition) && options.consistency !== 'linearizable'
  const known = await Promise.all(
    chosen.map(async (each) => (isKnown(each) ? each : fromLeader(state, each.partition, options))),
  )
  // A leader that others have replaced, and does not know it yet, must not end the reading before this.
  const { topicId } = description
  for (const { partition: at, highWatermark } of known)
    state.observe({ topicId, partition: at, endOffset: highWatermark })
  return known
}

async function fromLeader(state: TopicState, partition: number, options: PlaceOptions): Promise<PartitionOffsets> {
  const { consistency } = options
  const at = { at: 'start' as const, timestamp: undefined, clock: 'event' as const }
  const request = { topic: state.name, partition, ...at, consistency }
  const answer = await state.call(partition, 'listOffsets', request, { policy: 'reads', ...waitOf(options) })
  const { header } = answer
  checkConsistency(consistency, answer)
  return { partition, logStartOffset: header.offset, highWatermark: header.highWatermark }
}

async function offsetsOf(
  state: TopicState,
  partitions: readonly PartitionOffsets[],
  place: Place,
  options: PlaceOptions,
): Promise<number[]> {
  if (place === 'start') return partitions.map(({ logStartOffset }) => logStartOffset)
  if (place === 'end') return partitions.map((partition) => committedEnd(state, partition))
  if (typeof place === 'number') return [oneOffset(state, partitions, place)]
  if (typeof place === 'string' || place instanceof Date) {
    const timestamp = timeOf(place)
    return Promise.all(partitions.map(({ partition }) => offsetAtTime(state, partition, timestamp, options)))
  }
  return partitions.map(({ partition, logStartOffset }) => {
    return place.find((position) => position.partition === partition)?.offset ?? logStartOffset
  })
}

/** The high watermark, or further if this session has proof of more: it reads its own writes. */
function committedEnd(state: TopicState, { partition, highWatermark }: PartitionOffsets): number {
  return Math.max(highWatermark, state.token(partition)?.endOffset ?? 0)
}

/** Asked for by number, an offset outside the log is a mistake, or history that retention has let go: both are worth an error. */
function checkInLog(state: TopicState, described: PartitionOffsets, offset: number): void {
  const { partition, logStartOffset } = described
  const end = committedEnd(state, described)
  if (offset >= logStartOffset && offset <= end) return
  throw new PlayheadError(
    'offsetOutOfRange',
    `${state.name} partition ${partition}: found offset ${offset}, wanted ${logStartOffset} … ${end}; replay from "start" reads all there is`,
    { partition, offset, logStartOffset, highWatermark: end },
  )
}

function oneOffset(state: TopicState, partitions: readonly PartitionOffsets[], offset: number): number {
  if (partitions.length !== 1) {
    const message = `${state.name}: found offset ${offset} for ${partitions.length} partitions, wanted one partition; name it, or use a time`
    throw new PlayheadError('invalidArgument', message)
  }
  if (Number.isSafeInteger(offset) && offset >= 0) return offset
  throw new PlayheadError('invalidArgument', `${state.name}: found offset ${offset}, wanted an integer ≥ 0`)
}

async function offsetAtTime(
  state: TopicState,
  partition: number,
  timestamp: number,
  options: PlaceOptions,
): Promise<number> {
  const { clock = 'event', consistency } = options
  const request = { topic: state.name, partition, at: 'time' as const, timestamp, clock, consistency }
  const { header } = await state.call(partition, 'listOffsets', request, { policy: 'reads', ...waitOf(options) })
  return header.offset
}

function waitOf({ timeoutMs, signal }: WaitOptions): WaitOptions {
  return { ...(timeoutMs !== undefined && { timeoutMs }), ...(signal && { signal }) }
}
