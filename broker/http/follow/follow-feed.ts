/**
 * FollowFeed: reads one source once for all who follow it, and hands each page to everybody who stands at its cursor. The more there are, the longer it gathers
 * before it hands out, and it does so a few followers at a time, so that appends get their turns in between.
 * Invariant: a follower that has joined stands at the cursor before each page and at the next one after it. Called by FollowFeeds.
 */
import { sleep } from '../../../platform/clock.ts'
import { PlayheadError, isPlayheadError } from '../../../protocol/errors.ts'
import { KiB } from '../../../protocol/limits.ts'
import { Follower } from './follower.ts'
import type { FeedSide, FollowerLimits, FollowerTarget } from './follower.ts'
import type { Cursor, FollowPage, FollowSource } from './follow-source.ts'

const pageBytesMax = 256 * KiB
/** Handed a page in one turn of the event loop. */
const followersPerTurn = 8
/** So long what follows is gathered, for each follower, and at most. */
const gatherMsPerFollower = 0.1
const gatherMsMax = 100
/** At least so long as handing out took last, so that on a busy machine followers take half of the event loop and appends have the other; but never longer. */
const busyGatherMsMax = 1_000

export interface FeedEvents {
  readonly stats: { followersDropped: number; followersPaused: number }
  /** Nobody follows any more. */
  onEmpty(feed: FollowFeed): void
  onGone(): void
  onBug(error: unknown): void
}

export class FollowFeed implements FeedSide {
  readonly source: FollowSource
  cursor: Cursor
  readonly #limits: FollowerLimits
  readonly #events: FeedEvents
  readonly #all = new Set<Follower>()
  readonly #live = new Set<Follower>()
  readonly #stop = new AbortController()
  /** How long the last page was handed out. */
  #tookMs = 0
  /** There was more than a page holds. */
  #isBehind = false

  constructor(source: FollowSource, limits: FollowerLimits, events: FeedEvents) {
    this.source = source
    this.cursor = source.end()
    this.#limits = limits
    this.#events = events
    void this.#run()
  }

  follow(target: FollowerTarget, cursor: Cursor): void {
    const follower = new Follower(target, cursor, this, this.#limits)
    this.#all.add(follower)
    void follower.catchUp()
  }

  join(follower: Follower): void {
    this.#live.add(follower)
  }

  part(follower: Follower): void {
    this.#live.delete(follower)
  }

  gone(follower: Follower, dropped: boolean): void {
    if (!this.#all.delete(follower)) return
    if (dropped) this.#events.stats.followersDropped++
    this.#events.onGone()
    if (this.#all.size > 0) return
    this.#stop.abort()
    this.#events.onEmpty(this)
  }

  paused(): void {
    this.#events.stats.followersPaused++
  }

  beat(): void {
    for (const follower of this.#all) follower.beat()
  }

  /** Ends every follower with the reason. */
  end(reason: PlayheadError): void {
    for (const follower of this.#all) follower.end(reason)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        await this.#step(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#failed(error)
      }
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    await this.source.wait(this.cursor, signal)
    await this.#limits.clock.yield()
    const wantedMs = Math.min(gatherMsMax, Math.floor(this.#live.size * gatherMsPerFollower))
    const gatherMs = Math.max(this.#isBehind ? 0 : wantedMs, Math.min(busyGatherMsMax, Math.floor(this.#tookMs)))
    if (gatherMs > 0) await sleep(this.#limits.clock, gatherMs, signal)
    // Nobody is where the feed is: those who are behind read for themselves, up to here.
    if (this.#live.size === 0) {
      this.cursor = this.source.end()
      return
    }
    const page = await this.#gathered()
    if (page === undefined || signal.aborted) return
    // Who joins from here on stands behind this page already.
    const followers = [...this.#live]
    this.cursor = page.next
    this.#tookMs = await this.#handOut(followers, page, this.#isBehind ? 0 : gatherMs, signal)
  }

  /** What there is by now, of all partitions, as far as it fits into a page. Throws what the first of it cannot be read for. */
  async #gathered(): Promise<FollowPage | undefined> {
    const until = this.source.end()
    const pages: FollowPage[] = []
    let bytes = 0
    this.#isBehind = true
    while (bytes < pageBytesMax) {
      const page = await this.#read(pages.at(-1)?.next, until, pageBytesMax - bytes)
      if (page === undefined) {
        this.#isBehind = false
        break
      }
      pages.push(page)
      bytes += page.bytes.length
    }
    const last = pages.at(-1)
    return last && { bytes: Buffer.concat(pages.map((page) => page.bytes)), next: last.next }
  }

  /** What fails behind something that can be handed out is told when its turn comes. */
  async #read(behind: Cursor | undefined, until: Cursor, bytesMax: number): Promise<FollowPage | undefined> {
    try {
      return await this.source.read(behind ?? this.cursor, bytesMax, until)
    } catch (error) {
      if (behind === undefined || !isPlayheadError(error)) throw error
      return undefined
    }
  }

  /**
   * A few at a time, evenly over `spreadMs`: all at once would keep appends, and whoever takes the pages on this machine, waiting for as long as it lasts.
   * Answers how long it took, pauses apart.
   */
  async #handOut(
    followers: readonly Follower[],
    page: FollowPage,
    spreadMs: number,
    signal: AbortSignal,
  ): Promise<number> {
    const { clock } = this.#limits
    const startedMs = clock.monotonicMs()
    let pausedMs = 0
    for (let from = 0; from < followers.length; from += followersPerTurn) {
      const nowMs = clock.monotonicMs()
      const earlyMs = Math.floor(startedMs + (spreadMs * from) / followers.length - nowMs)
      if (earlyMs > 0) {
        await sleep(clock, earlyMs, signal)
        pausedMs += clock.monotonicMs() - nowMs
      } else if (from > 0) await clock.yield()
      for (const follower of followers.slice(from, from + followersPerTurn)) follower.deliver(page.bytes, page.next)
    }
    return clock.monotonicMs() - startedMs - pausedMs
  }

  /** What cannot be read is told to everybody; the feed goes on behind it, or ends. */
  #failed(error: unknown): void {
    if (!isPlayheadError(error)) this.#events.onBug(error)
    const behind = isPlayheadError(error) ? this.source.behind(this.cursor, error) : undefined
    const live = [...this.#live]
    if (behind !== undefined) this.cursor = behind
    for (const follower of live) follower.failed(error)
    if (behind !== undefined) return
    const reason = isPlayheadError(error)
      ? error
      : new PlayheadError('internal', 'found a bug in the broker; its log has the details')
    this.end(reason)
    this.#stop.abort()
  }
}
