/**
 * TopicSource: the partitions of a topic, or one of them, as a source to be followed. Each partition comes in the order of its offsets; between
 * partitions there is no order. The id of an event is where its reader stands behind it: `partition:next offset`, for each partition.
 */
import type { PlayheadError } from '../../../protocol/errors.ts'
import type { Partition } from '../../../replication/partition.ts'
import { readEventPage } from '../event-page.ts'
import { followedEvent, invalidStart } from './follow-source.ts'
import type { Cursor, FollowPage, FollowSource } from './follow-source.ts'

/** A wait that is over is begun anew. */
const waitMsMax = 3_600_000
const eventsPerPageMax = 10_000

export class TopicSource implements FollowSource {
  readonly name: string
  /** What is the same for all who follow the same. */
  readonly key: string
  readonly #partitions: readonly Partition[]

  constructor(name: string, key: string, partitions: readonly Partition[]) {
    this.name = name
    this.key = key
    this.#partitions = partitions
  }

  end(): Cursor {
    return this.#partitions.map(({ highWatermark }) => highWatermark)
  }

  cursorOf(from: string): Cursor {
    if (from === 'end') return this.end()
    if (from === 'start') return this.#partitions.map(({ log }) => log.logStartOffset)
    const nexts = new Map<number, number>()
    for (const part of from.split(',')) {
      const [, partition, next] = /^(\d{1,5}):(\d{1,16})$/.exec(part) ?? []
      if (partition === undefined) throw invalidStart(this.name, from, 'or the id of an event such as 0:41')
      nexts.set(Number(partition), Number(next))
    }
    // Of a partition that the id does not name nothing was sent.
    // A leader that has just begun has all that was committed, and does not know yet that it is: its high watermark may be below an id that was sent.
    return this.#partitions.map(({ partition, log }) =>
      Math.min(Math.max(nexts.get(partition) ?? log.logStartOffset, log.logStartOffset), log.logEndOffset),
    )
  }

  /** Of the partition that most is left of: one that is busy all the time does not keep the others waiting. */
  async read(cursor: Cursor, bytesMax: number, until?: Cursor): Promise<FollowPage | undefined> {
    const place = this.#fullest(cursor, until)
    const partition = this.#partitions[place]
    if (partition === undefined) return undefined
    const offset = cursor[place] ?? 0
    const limitOffset = until?.[place] ?? Infinity
    const page = await readEventPage(partition, { offset, limitOffset, eventsMax: eventsPerPageMax, bytesMax })
    const next = [...cursor]
    let text = ''
    for (const event of page.events) {
      next[place] = event.offset + 1
      text += followedEvent(this.#idOf(next), event)
    }
    next[place] = page.nextOffset
    return page.nextOffset > offset ? { bytes: Buffer.from(text), next } : undefined
  }

  /** Of all that have something to read; -1 = none has. */
  #fullest(cursor: Cursor, until?: Cursor): number {
    let [fullest, most] = [-1, 0]
    for (const [place, { highWatermark }] of this.#partitions.entries()) {
      const left = (until?.[place] ?? highWatermark) - (cursor[place] ?? 0)
      if (left > most) [fullest, most] = [place, left]
    }
    return fullest
  }

  behind(cursor: Cursor, { code, details }: PlayheadError): Cursor | undefined {
    if (code === 'offsetOutOfRange') {
      const inRange = this.#partitions.map(({ log }, place) => Math.max(cursor[place] ?? 0, log.logStartOffset))
      return inRange.some((next, place) => next > (cursor[place] ?? 0)) ? inRange : undefined
    }
    const next = Number(details.nextOffset)
    if (!Number.isSafeInteger(next)) return undefined
    const place = this.#fullest(cursor) // the one that was read
    return place < 0 || next <= (cursor[place] ?? 0) ? undefined : cursor.with(place, next)
  }

  async wait(cursor: Cursor, signal: AbortSignal): Promise<void> {
    const [first] = this.#partitions
    if (this.#partitions.length === 1 && first !== undefined) {
      await first.waitForHighWatermark((cursor[0] ?? 0) + 1, waitMsMax, signal)
      return
    }
    const over = new AbortController()
    const either = AbortSignal.any([signal, over.signal])
    try {
      await Promise.race(
        this.#partitions.map((partition, place) =>
          partition.waitForHighWatermark((cursor[place] ?? 0) + 1, waitMsMax, either),
        ),
      )
    } finally {
      over.abort()
    }
  }

  #idOf(next: Cursor): string {
    return this.#partitions.map(({ partition }, place) => `${partition}:${next[place] ?? 0}`).join(',')
  }
}
