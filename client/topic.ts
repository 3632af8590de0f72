/** Topic: the door to one topic: its streams, its replay, its producers, its playheads. Neighbours: each of these has its own file. */
import type { ListedStream } from '../protocol/stream.ts'
import type { PlayheadPosition } from '../protocol/playhead.ts'
import { streamsPerListMax } from '../protocol/limits.ts'
import type { Token } from '../protocol/token.ts'
import type { ReplyOf } from '../protocol/api.ts'
import { appendEvents } from './event-append.ts'
import type { StreamAppend } from './event-append.ts'
import { EventStream } from './event-stream.ts'
import { listStreams } from './stream-list.ts'
import { NamedPlayhead } from './named-playhead.ts'
import { NamedProducer } from './named-producer.ts'
import type { NamedProducerOptions } from './named-producer.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions } from './producer.ts'
import { Replay } from './replay.ts'
import type { ReplayOptions } from './replay.ts'
import { resolvePlace } from './replay-range.ts'
import type { Place, PlaceOptions } from './replay-range.ts'
import type { TopicDescription, TopicState, WaitOptions } from './topic-state.ts'

const streamsPage = 1_000

export interface StreamsOptions extends WaitOptions {
  /** Only names that begin with this. */
  readonly prefix?: string
  /** Names wanted at most; all by default. */
  readonly limit?: number
}

/** Where the events of an append over several streams went. */
export interface AppendedToStreams {
  readonly partition: number
  /** Offset of the last event; those of one append are contiguous. */
  readonly offset: number
  /** The broker's append time, ms since the epoch. */
  readonly appendTimeMs: number
  /** In the order of the appends given; `versions` of the events of each. */
  readonly streams: readonly { readonly stream: string; readonly versions: readonly number[] }[]
  readonly token: Token
}

export type ListedPlayhead = ReplyOf<'listPlayheads'>['playheads'][number]

/** One topic. Cheap to make; nothing is asked of the broker before a method is called. */
export class Topic {
  readonly name: string
  readonly #state: TopicState
  readonly #producers: Set<Producer>

  /** @internal Use `playhead.topic(name)`. */
  constructor(state: TopicState, producers: Set<Producer>) {
    this.name = state.name
    this.#state = state
    this.#producers = producers
  }

  /** One stream of this topic; it need not have events yet. */
  stream(name: string): EventStream {
    return new EventStream(this.#state, name)
  }

  /**
   * Appends to several streams of one partition, all or nothing. An entry without events is a condition only.
   *
   * @throws PlayheadError `wrongPartition` (naming two streams that are not together), and all that `stream.append` throws
   * @example
   * await carts.append([
   *   { stream: 'cart-17850', events: [{ type: 'CheckedOut' }], expectedVersion: 41 },
   *   { stream: 'order-536365', events: [{ type: 'Placed', data: order }], expectedVersion: 'none' },
   * ])
   */
  append(appends: readonly StreamAppend[], options: WaitOptions = {}): Promise<AppendedToStreams> {
    return appendEvents(this.#state, appends, options, ({ token, baseOffset, versions, appendTimeMs }, eventCount) => {
      let at = 0
      const streams = appends.map(({ stream, events }) => {
        const from = at
        at += events.length
        return { stream, versions: versions.slice(from, at) }
      })
      const endOffset = baseOffset + eventCount
      return {
        partition: token.partition,
        offset: endOffset - 1,
        appendTimeMs,
        streams,
        token: { ...token, endOffset },
      }
    })
  }

  /** The topic's records from a place onwards; see ReplayOptions and Replay. */
  replay(options: ReplayOptions = {}): Replay {
    return new Replay(this.#state, options)
  }

  /**
   * A producer of records for this topic: batches, in order, never twice. Close it, or close the client.
   *
   * @throws PlayheadError `invalidArgument` for options out of range
   * @example
   * const producer = carts.producer({ lingerMs: 5 })
   * for (const { key, value } of records) await producer.send({ key, value })
   * await producer.flush()
   */
  producer(options: ProducerOptions = {}): Producer {
    const producer = new Producer(this.#state, options, (ended) => this.#producers.delete(ended))
    this.#producers.add(producer)
    return producer
  }

  /**
   * A producer that continues where an earlier run under the same name stopped: send the same records in the same order again.
   *
   * @param nameHash at least 7 bytes that stand for the input and how it is mapped, e.g. a SHA-256
   * @throws PlayheadError `unknownTopic`, `unavailable`
   */
  namedProducer(nameHash: Buffer, options: NamedProducerOptions = {}): Promise<NamedProducer> {
    const onClosed = (ended: Producer) => this.#producers.delete(ended)
    return NamedProducer.open(this.#state, nameHash, options, onClosed, (opened) => this.#producers.add(opened))
  }

  /** A named reader's place in this topic. @throws PlayheadError `invalidPlayheadName` */
  playhead(name: string): NamedPlayhead {
    return new NamedPlayhead(this.#state, name)
  }

  /** All named playheads of this topic. @throws PlayheadError `unknownTopic`, `unavailable` */
  async playheads(options: WaitOptions = {}): Promise<ListedPlayhead[]> {
    const { header } = await this.#state.cluster.call(
      'listPlayheads',
      { topic: this.name },
      { policy: 'reads', route: this.#state.cluster.playheads, ...options },
    )
    return header.playheads
  }

  /**
   * Names of streams with their partition and last version, in byte order of the names.
   *
   * @throws PlayheadError `unknownTopic`, `unavailable`
   * @example
   * for await (const { stream, lastVersion } of carts.streams({ prefix: 'customer-' })) console.log(stream, lastVersion)
   */
  async *streams(options: StreamsOptions = {}): AsyncGenerator<ListedStream, void, undefined> {
    const { prefix = '', limit = Number.MAX_SAFE_INTEGER, ...wait } = options
    let afterStream: string | undefined
    for (let left = limit; left > 0; ) {
      const request = { topic: this.name, prefix, afterStream, limit: Math.min(left, streamsPage, streamsPerListMax) }
      const { streams, more } = await listStreams(this.#state, request, wait)
      yield* streams
      left -= streams.length
      afterStream = streams.at(-1)?.stream
      if (!more || afterStream === undefined) return
    }
  }

  /** The offset of a place in each partition: what `replay({ from: place })` begins at, and what a rewind commits. */
  positions(place: Place, options: PlaceOptions = {}): Promise<PlayheadPosition[]> {
    return resolvePlace(this.#state, place, options)
  }

  /** Settings, partitions and offsets. @throws PlayheadError `unknownTopic`, `unavailable` */
  describe(options: WaitOptions = {}): Promise<TopicDescription> {
    return this.#state.describe(options)
  }
}
