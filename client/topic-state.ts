/**
 * TopicState: what one client knows of one topic: its partitions, how far it has seen each (the session's tokens), and its event
 * appends. Shared by everything that reaches the topic through the same client, so that a session reads its own writes.
 */
import type { ApiName, RequestOf } from '../protocol/api.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { partitionOf } from '../protocol/murmur2.ts'
import type { Token } from '../protocol/token.ts'
import { UUID_BYTES, stampUuidV7 } from '../protocol/uuid.ts'
import { AppendLane } from './append-lane.ts'
import type { Answered, CallOptions, Cluster } from './cluster.ts'
import { TopicRoutes } from './topic-routes.ts'
import type { TopicDescription, WaitOptions } from './topic-routes.ts'

export type { TopicDescription, WaitOptions } from './topic-routes.ts'

const randomPoolIds = 256
/** Few, so that appends which wait meanwhile share the next frame. */
const eventFramesInFlight = 4

/** What the place of a record depends on; fixed once a topic holds streams. */
export interface TopicLayout {
  readonly topicId: string
  readonly partitions: number
  readonly partitionBy: string
}

export class TopicState {
  readonly name: string
  readonly cluster: Cluster
  /** Who leads its partitions. */
  readonly routes: TopicRoutes
  #layout: Promise<TopicLayout> | undefined
  /** What `#layout` has resolved to. */
  #knownLayout: TopicLayout | undefined
  readonly #tokens = new Map<number, Token>()
  /** By name: the latest version of a named playhead that this client has seen. */
  readonly seenPlayheads = new Map<string, { readonly topicId: string; readonly version: number }>()
  readonly #eventLanes = new Map<number, AppendLane>()
  readonly #eventProducerId: number
  /** Ids to be: each is cut off as it is needed. */
  #randomPool: Buffer = Buffer.alloc(0)
  #randomAt = 0

  constructor(cluster: Cluster, name: string) {
    this.cluster = cluster
    this.name = name
    this.routes = new TopicRoutes(cluster, name)
    this.#eventProducerId = cluster.random.integer52()
  }

  async describe(options: WaitOptions = {}): Promise<TopicDescription> {
    return (await this.routes.describe(options)).description
  }

  /** A request about one partition, to the broker that leads it. */
  call<A extends ApiName>(
    partition: number,
    api: A,
    header: RequestOf<A>,
    options: Omit<CallOptions, 'route'>,
  ): Promise<Answered<A>> {
    return this.cluster.call(api, header, { ...options, route: this.routes.of(partition) })
  }

  /** Asked once, and again after a failure or after `forget`. */
  layout(options: WaitOptions = {}): Promise<TopicLayout> {
    if (this.#layout !== undefined) return this.#layout
    const asked = this.routes.ask(options).then(layoutOf)
    this.#layout = asked
    asked.then(
      (layout) => this.#onLayout(asked, layout),
      () => this.#onLayout(asked, undefined),
    )
    return asked
  }

  /** Unless it was forgotten meanwhile. A failure is not remembered. */
  #onLayout(asked: Promise<TopicLayout>, layout: TopicLayout | undefined): void {
    if (this.#layout !== asked) return
    this.#knownLayout = layout
    if (layout === undefined) this.#layout = undefined
  }

  /** The layout, if it has been asked for and answered. */
  get knownLayout(): TopicLayout | undefined {
    return this.#knownLayout
  }

  /** After an error that says the topic is not the one known here (deleted, and perhaps created anew). */
  forget(): void {
    this.#layout = undefined
    this.#knownLayout = undefined
    this.#tokens.clear()
    this.seenPlayheads.clear()
    this.routes.clear()
  }

  /** Notes how far a reply has proved a partition. */
  observe(token: Token): void {
    const known = this.#tokens.get(token.partition)
    if (known?.topicId === token.topicId && known.endOffset >= token.endOffset) return
    this.#tokens.set(token.partition, token)
  }

  get hasTokens(): boolean {
    return this.#tokens.size > 0
  }

  token(partition: number): Token | undefined {
    return this.#tokens.get(partition)
  }

  /**
   * Runs a read of one partition behind the later of `after` and the session's own token. If the topic has been replaced since the
   * session saw it, what is known of the old one is forgotten and the read runs once more without.
   */
  async read<T>(
    partition: number,
    after: Token | undefined,
    read: (after: Token | undefined) => Promise<T>,
  ): Promise<T> {
    const own = this.token(partition)
    if (after !== undefined && (own?.topicId !== after.topicId || own.endOffset <= after.endOffset)) return read(after)
    try {
      return await read(own)
    } catch (error) {
      if (own === undefined || !isPlayheadError(error, 'tokenMismatch')) throw error
      this.forget()
      return read(after)
    }
  }

  async partitionOfStream(stream: string, options: WaitOptions = {}): Promise<number> {
    const { partitions, partitionBy } = await this.layout(options)
    return partitionOf(stream, partitions, partitionBy)
  }

  /** The lane of this session's event appends to a partition. */
  eventLane(partition: number): AppendLane {
    let lane = this.#eventLanes.get(partition)
    if (lane === undefined) {
      lane = new AppendLane(this.cluster, {
        topic: this.name,
        partition,
        route: this.routes.of(partition),
        acks: 'all',
        producerId: this.#eventProducerId,
        producerEpoch: 0,
        firstSequence: 0,
        framesInFlightMax: eventFramesInFlight,
        batchesPerFrameMax: Number.MAX_SAFE_INTEGER,
        onFailure: 'continue',
        onToken: (token) => this.observe(token),
      })
      this.#eventLanes.set(partition, lane)
    }
    return lane
  }

  /** Resolves when every event append so far has settled. */
  async idle(): Promise<void> {
    await Promise.all(Array.from(this.#eventLanes.values(), (lane) => lane.idle()))
  }

  /** A fresh event id. */
  nextId(nowMs: number): Buffer {
    if (this.#randomAt === this.#randomPool.length) {
      this.#randomPool = this.cluster.random.bytes(randomPoolIds * UUID_BYTES)
      this.#randomAt = 0
    }
    const id = this.#randomPool.subarray(this.#randomAt, (this.#randomAt += UUID_BYTES))
    stampUuidV7(id, nowMs)
    return id
  }
}

function layoutOf({ topicId, partitions, settings }: TopicDescription): TopicLayout {
  const partitionBy = settings.find(({ name }) => name === 'partition.by')?.value ?? 'key'
  return { topicId, partitions: partitions.length, partitionBy }
}
