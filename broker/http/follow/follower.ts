/**
 * Follower: one connection that is sent events. While it takes what it is sent it is live and FollowFeed hands it every page; when too much waits for it,
 * or while it is still behind, it is sent pages of its own, each once the one before was taken, until it has caught up.
 * Invariants: events go out in the order of the cursor, none twice and none left out; what waits for one follower is at most a page and what its
 * limit allows; one that takes nothing for too long is dropped, and told why. What it is sent counts in the quota of its principal, who is
 * sent the next page when that is paid for: not dropped, and nothing is kept for it meanwhile.
 */
import type { ServerResponse } from 'node:http'
import { sleep } from '../../../platform/clock.ts'
import type { Clock, Timer } from '../../../platform/clock.ts'
import { PlayheadError, isPlayheadError } from '../../../protocol/errors.ts'
import { KiB } from '../../../protocol/limits.ts'
import { problemOf } from '../problem.ts'
import { sameCursor } from './follow-source.ts'
import type { Meter } from '../../security/quotas.ts'
import type { Cursor, FollowSource } from './follow-source.ts'

const catchUpBytesMax = 64 * KiB
/** For the reason to go out, after a follower is dropped. */
const lastWordsMsMax = 1_000
/** How often who has used more than its quota is looked at. */
const payLookMsMax = 1_000
const heartbeat = ': heartbeat\n\n'

export interface FollowerLimits {
  readonly clock: Clock
  /** What may wait for a follower before it is paused. */
  readonly bufferBytesMax: number
  /** How long it may take nothing. */
  readonly pausedMsMax: number
}

/** Who is sent events, and what counts them; undefined = nobody counts. */
export interface FollowerTarget {
  readonly response: ServerResponse
  readonly meter: Meter | undefined
}

/** The feed as its followers see it. */
export interface FeedSide {
  readonly source: FollowSource
  readonly cursor: Cursor
  /** It stands where the feed does: it is handed every page from the next one on. */
  join(follower: Follower): void
  /** It is not handed pages any more. */
  part(follower: Follower): void
  /** It is gone. `dropped`: for taking nothing. */
  gone(follower: Follower, dropped: boolean): void
  paused(): void
}

export class Follower {
  cursor: Cursor
  readonly #response: ServerResponse
  readonly #meter: Meter | undefined
  readonly #leave = new AbortController()
  readonly #feed: FeedSide
  readonly #limits: FollowerLimits
  #pausedTimer: Timer | undefined
  #drained: (() => void) | undefined
  #isOver = false

  constructor({ response, meter }: FollowerTarget, cursor: Cursor, feed: FeedSide, limits: FollowerLimits) {
    this.#response = response
    this.#meter = meter
    this.cursor = cursor
    this.#feed = feed
    this.#limits = limits
    response.on('drain', () => this.#taken())
    response.once('close', () => this.#close(false))
    response.on('error', () => this.#close(false))
  }

  /** Sends what it has not been sent yet, then joins. Never rejects. */
  async catchUp(): Promise<void> {
    const { source } = this.#feed
    while (!this.#isOver) {
      if (this.#response.writableNeedDrain) await this.#drain()
      await this.#payUp()
      if (this.#isOver) return
      if (sameCursor(this.cursor, this.#feed.cursor)) return this.#feed.join(this)
      try {
        const page = await source.read(this.cursor, catchUpBytesMax, this.#feed.cursor)
        if (page !== undefined && !this.#isOver) this.#send(page.bytes, page.next)
        // Nothing where the feed found something: the log start has moved past it.
        else if (page === undefined) this.cursor = this.#feed.cursor
      } catch (error) {
        this.failed(error)
      }
    }
  }

  /** The next page of the feed, for one that has joined. */
  deliver(bytes: Buffer, next: Cursor): void {
    this.#send(bytes, next)
    if (this.#isOver) return
    const isSlow = this.#response.writableLength > this.#limits.bufferBytesMax
    if (!isSlow && (this.#meter?.waitMs ?? 0) === 0) return
    this.#feed.part(this)
    if (isSlow) this.#feed.paused()
    void this.catchUp()
  }

  beat(): void {
    if (!this.#isOver && this.#response.writableLength === 0) this.#write(heartbeat)
  }

  /** Tells it what cannot be read, and goes on behind that where the failure says where that is. */
  failed(error: unknown): void {
    const problem = isPlayheadError(error)
      ? error
      : new PlayheadError('internal', 'found a bug in the broker; its log has the details')
    const behind = this.#feed.source.behind(this.cursor, problem)
    if (behind === undefined) return this.end(problem)
    this.cursor = behind
    this.#write(said('problem', problem))
  }

  /** Ends it with a reason, which it gets if it takes it soon. */
  end(problem: PlayheadError, dropped = false): void {
    if (this.#isOver) return
    this.#response.end(said('end', problem))
    const { socket } = this.#response
    const timer = this.#limits.clock.after(lastWordsMsMax, () => socket?.destroy())
    this.#response.once('close', () => timer.cancel())
    this.#close(dropped)
  }

  #send(bytes: Buffer, next: Cursor): void {
    if (this.#isOver) return
    this.cursor = next
    if (bytes.length > 0) this.#write(bytes)
  }

  #write(bytes: Buffer | string): void {
    this.#meter?.sent(bytes.length)
    this.#response.write(bytes)
  }

  /** Looks again and again: a quota may be raised meanwhile, and others use it too. Never rejects. */
  async #payUp(): Promise<void> {
    const { signal } = this.#leave
    for (let waitMs = this.#meter?.waitMs ?? 0; waitMs > 0 && !this.#isOver; waitMs = this.#meter?.waitMs ?? 0)
      await sleep(this.#limits.clock, Math.min(waitMs, payLookMsMax), signal).catch(() => undefined)
  }

  /** Resolves when what waits was taken, or the follower is gone. */
  #drain(): Promise<void> {
    const { clock, pausedMsMax } = this.#limits
    this.#pausedTimer ??= clock.after(pausedMsMax, () => this.end(tooSlow(this.#feed.source.name, pausedMsMax), true))
    return new Promise((resolve) => {
      this.#drained = resolve
    })
  }

  #taken(): void {
    this.#pausedTimer?.cancel()
    this.#pausedTimer = undefined
    this.#drained?.()
    this.#drained = undefined
  }

  #close(dropped: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#leave.abort()
    this.#taken()
    this.#feed.part(this)
    this.#feed.gone(this, dropped)
  }
}

function said(event: 'problem' | 'end', problem: PlayheadError): string {
  return `event: ${event}\ndata: ${JSON.stringify(problemOf(problem))}\n\n`
}

function tooSlow(name: string, pausedMsMax: number): PlayheadError {
  const message = `follow ${name}: found a reader that took nothing for ${pausedMsMax} ms, wanted one that reads; follow again with Last-Event-ID`
  return new PlayheadError('overloaded', message, { pausedMs: pausedMsMax })
}
