/**
 * FollowSource: what can be followed: a topic's partitions (topic-source.ts), or one stream (stream-source.ts). A cursor says where a reader stands, as
 * the next offset of each partition, or the next version; whoever stands at the same cursor has been sent the same events.
 */
import { eventLine } from '../../../protocol/event.ts'
import type { StreamEvent } from '../../../protocol/event.ts'
import { PlayheadError } from '../../../protocol/errors.ts'

export type Cursor = readonly number[]

export interface FollowPage {
  /** Events as they go out. */
  readonly bytes: Buffer
  readonly next: Cursor
}

export interface FollowSource {
  /** What is followed, for messages. */
  readonly name: string
  /** Behind the last event that is committed now. */
  end(): Cursor
  /** Where `from` of a query, or the id of an event followed before, says to begin. Throws invalidArgument. */
  cursorOf(from: string): Cursor
  /** The events from `cursor` on, those before `until` only; undefined = none now. Throws offsetOutOfRange, corruptBatch. */
  read(cursor: Cursor, bytesMax: number, until?: Cursor): Promise<FollowPage | undefined>
  /** Behind what cannot be read, as the failure tells it; undefined = it says nothing about that. */
  behind(cursor: Cursor, failure: PlayheadError): Cursor | undefined
  /** Resolves when there may be events from `cursor` on, or when the signal aborts. Throws unknownTopic when the topic is deleted. */
  wait(cursor: Cursor, signal: AbortSignal): Promise<void>
}

export function sameCursor(one: Cursor, other: Cursor): boolean {
  return one.every((next, place) => next === other[place])
}

/** One event of the stream of server-sent events. JSON has no line ends, so that whatever stands in an event cannot end it early. */
export function followedEvent(id: string, event: StreamEvent): string {
  return `id: ${id}\ndata: ${eventLine(event)}\n\n`
}

export function invalidStart(name: string, from: string, wanted: string): PlayheadError {
  const message = `follow ${name}: found ${JSON.stringify(from.slice(0, 64))} as the place to begin, wanted start, end, ${wanted}`
  return new PlayheadError('invalidArgument', message)
}
