/** StreamSource: one stream as a source to be followed. The id of an event is its version. */
import type { PlayheadError } from '../../../protocol/errors.ts'
import { decodeEvent } from '../../../protocol/event.ts'
import { eventsPerReadMax } from '../../../protocol/limits.ts'
import type { Partition } from '../../../replication/partition.ts'
import type { LimitedStreams } from '../../limited-streams.ts'
import { followedEvent, invalidStart } from './follow-source.ts'
import type { Cursor, FollowPage, FollowSource } from './follow-source.ts'

const waitMsMax = 3_600_000

export class StreamSource implements FollowSource {
  readonly name: string
  readonly #partition: Partition
  readonly #stream: string
  readonly #limitedStreams: Pick<LimitedStreams, 'ready'>

  constructor(partition: Partition, stream: string, limitedStreams: Pick<LimitedStreams, 'ready'>) {
    this.#limitedStreams = limitedStreams
    this.name = `${partition.topic}/${stream}`
    this.#partition = partition
    this.#stream = stream
  }

  end(): Cursor {
    return [this.#facts().lastVersion + 1]
  }

  cursorOf(from: string): Cursor {
    if (from === 'end') return this.end()
    if (from === 'start') return [Math.max(0, this.#facts().firstVersion)]
    if (!/^\d{1,15}$/.test(from)) throw invalidStart(this.name, from, 'or a version')
    return [Math.min(Number(from), this.#facts().lastVersion + 1)]
  }

  /** Behind the event with this id. Throws invalidArgument. */
  cursorBehind(id: string): Cursor {
    if (!/^\d{1,15}$/.test(id)) throw invalidStart(this.name, id, 'or the id of an event, which is its version')
    return [Math.min(Number(id), this.#facts().lastVersion) + 1]
  }

  async read(cursor: Cursor, bytesMax: number, until?: Cursor): Promise<FollowPage | undefined> {
    const from = cursor[0] ?? 0
    const end = until?.[0] ?? this.#facts().lastVersion + 1
    if (from >= end) return undefined
    const limit = Math.min(end - from, eventsPerReadMax)
    await this.#limitedStreams.ready(this.#partition)
    const request = { stream: this.#stream, from, limit, backwards: false, maxBytes: bytesMax }
    const { records, versions, nextVersion, lastVersion } = await this.#partition.readStream(request)
    let text = ''
    for (const [index, record] of records.entries()) {
      const version = versions[index] ?? -1
      text += followedEvent(String(version), decodeEvent(record, this.#partition.partition, version))
    }
    const next = Math.min(end, nextVersion ?? Math.max(lastVersion + 1, from))
    return next > from ? { bytes: Buffer.from(text), next: [next] } : undefined
  }

  behind(cursor: Cursor, { details }: PlayheadError): Cursor | undefined {
    const next = Number(details.nextVersion)
    return Number.isSafeInteger(next) && next > (cursor[0] ?? 0) ? [next] : undefined
  }

  /** Every commit of the partition is looked at: it may be one of this stream. */
  async wait(cursor: Cursor, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { highWatermark } = this.#partition
      if (signal.aborted || this.#facts().lastVersion >= (cursor[0] ?? 0)) return
      await this.#partition.waitForHighWatermark(highWatermark + 1, waitMsMax, signal)
    }
  }

  #facts(): { lastVersion: number; firstVersion: number } {
    return this.#partition.log.streamInfo(this.#stream, this.#partition.highWatermark)
  }
}
