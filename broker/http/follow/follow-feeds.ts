/**
 * FollowFeeds: who follows what on the HTTP port, as server-sent events. One feed for each topic, partition or stream that anybody follows, gone with its
 * last follower. Invariant: at most `followersMax` follow. Made by HttpServer, called by routes/follow.ts.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Timer } from '../../../platform/clock.ts'
import { PlayheadError } from '../../../protocol/errors.ts'
import type { Services } from '../../request.ts'
import { FollowFeed } from './follow-feed.ts'
import type { Cursor, FollowSource } from './follow-source.ts'

export interface FollowFeedsOptions {
  readonly services: Services
  readonly onBug: (error: unknown) => void
}

export class FollowFeeds {
  readonly stats = { followersDropped: 0, followersPaused: 0 }
  readonly #options: FollowFeedsOptions
  readonly #feeds = new Map<string, FollowFeed>()
  #count = 0
  #heartbeat: Timer | undefined

  constructor(options: FollowFeedsOptions) {
    this.#options = options
  }

  /** Followers now. */
  get count(): number {
    return this.#count
  }

  /** Answers the request with what `key` names, from `from` on or behind the Last-Event-ID. Throws overloaded, invalidArgument. */
  follow(key: string, source: FollowSource, from: Cursor, reply: FastifyReply): void {
    const { followersMax } = this.#options.services.config
    if (this.#count >= followersMax) {
      const message = `followers: found ${this.#count}, wanted fewer than ${followersMax}; try again later or raise followersMax`
      throw new PlayheadError('overloaded', message, { limit: followersMax })
    }
    const feed = this.#feeds.get(key) ?? this.#open(key, source)
    this.#count++
    begin(reply)
    feed.follow({ response: reply.raw, meter: reply.request.session.meter }, from)
    this.#heartbeat ??= this.#beatLater()
  }

  /** The broker stops: everybody is told to come again. */
  stop(): void {
    this.#heartbeat?.cancel()
    const reason = new PlayheadError(
      'stopping',
      'follow: found the broker stopping, wanted it running; follow again later',
    )
    for (const feed of this.#feeds.values()) feed.end(reason)
  }

  #open(key: string, source: FollowSource): FollowFeed {
    const { clock, config } = this.#options.services
    const { followerBufferBytesMax: bufferBytesMax, followerPausedMsMax: pausedMsMax } = config
    const feed = new FollowFeed(
      source,
      { clock, bufferBytesMax, pausedMsMax },
      {
        stats: this.stats,
        onEmpty: (empty) => {
          if (this.#feeds.get(key) === empty) this.#feeds.delete(key)
        },
        onGone: () => {
          this.#count--
        },
        onBug: this.#options.onBug,
      },
    )
    this.#feeds.set(key, feed)
    return feed
  }

  #beatLater(): Timer {
    const { clock, config } = this.#options.services
    return clock.after(config.followHeartbeatMs, () => {
      for (const feed of this.#feeds.values()) feed.beat()
      this.#heartbeat = this.#count > 0 ? this.#beatLater() : undefined
    })
  }
}

/** Where a browser that comes again was. */
export function lastEventId({ headers }: FastifyRequest): string | undefined {
  const id = headers['last-event-id']
  return typeof id === 'string' && id !== '' ? id : undefined
}

/** The end of the connection is the end of the answer: pages of many followers are the same bytes, without chunks around them. */
function begin(reply: FastifyReply): void {
  reply.hijack()
  const { raw } = reply
  raw.shouldKeepAlive = false
  raw.removeHeader('transfer-encoding')
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'x-accel-buffering': 'no',
    connection: 'close',
  })
  raw.socket?.setNoDelay(true)
  raw.flushHeaders()
}
