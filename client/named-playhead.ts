/** NamedPlayhead: where a named reader of a topic stands, kept by the broker. */
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { checkPlayheadName } from '../protocol/names.ts'
import type { PlayheadPosition } from '../protocol/playhead.ts'
import { Deadline } from './deadline.ts'
import { isIndefinite, withRetry } from './retry.ts'
import type { TopicState, WaitOptions } from './topic-state.ts'

export interface PlayheadState {
  /** Counts the commits from 0: what a conditional commit names. */
  readonly version: number
  /** Per partition, the next offset to read. */
  readonly positions: readonly PlayheadPosition[]
  /** Ms since the epoch. */
  readonly committedAtMs: number
}

export interface CommitOptions extends WaitOptions {
  /** The `version` that was read; the commit is refused with `playheadMoved` if another has come since. `none`: no commit yet. */
  readonly expectedVersion?: number | 'none'
}

/** A named reader's place in a topic. Read it, replay from its positions, commit as you go; to rewind is to commit an earlier place. */
export class NamedPlayhead {
  readonly name: string
  readonly #state: TopicState

  /** @internal Use `topic.playhead(name)`. */
  constructor(state: TopicState, name: string) {
    checkPlayheadName(name)
    this.#state = state
    this.name = name
  }

  /**
   * Where it stands; undefined if nothing was ever committed under this name. Never less than this client has seen of it.
   *
   * @throws PlayheadError `unknownTopic`, `unavailable`
   */
  async read(options: WaitOptions = {}): Promise<PlayheadState | undefined> {
    const { cluster } = this.#state
    const { timeoutMs = cluster.timeoutMs, signal } = options
    const deadline = new Deadline(cluster.clock, timeoutMs, signal)
    return withRetry(deadline, 'reads', cluster.random, () => this.#readOnce(deadline))
  }

  async #readOnce(deadline: Deadline): Promise<PlayheadState | undefined> {
    const { cluster, seenPlayheads, name: topic } = this.#state
    const route = cluster.playheads
    const { name } = this
    const { header, broker } = await cluster.attempt(
      'readPlayhead',
      { topic, name },
      { policy: 'reads', route },
      deadline,
    )
    const { known, version, positions, committedAtMs } = header
    const seen = seenPlayheads.get(name)?.version ?? -1
    if ((known ? version : -1) < seen && !(await this.#isOfAnother())) {
      // It leads no more, and does not know it yet.
      route.doubt(broker)
      const message = `playhead ${name}: found version ${known ? version : -1} at broker ${broker}, wanted at least ${seen}, which this client has seen; another broker leads by now`
      throw new PlayheadError('notLeader', message, { outcome: 'notApplied' })
    }
    if (!known) return undefined
    await this.#saw({ version })
    return { version, positions, committedAtMs }
  }

  /**
   * Moves it, forwards or back; durable when it resolves. Partitions not named keep their offset. Without `expectedVersion` the last
   * committer wins, also when a commit is repeated after a lost connection.
   *
   * @throws PlayheadError `playheadMoved` (only with `expectedVersion`), `unknownTopic`, `unknownPartition`, `offsetOutOfRange`, `unavailable`
   * @example
   * const reader = carts.playhead('mailer')
   * for await (const batch of carts.replay({ from: (await reader.read())?.positions ?? 'start' })) {
   *   await deal(batch)
   *   await reader.commit([{ partition: batch.partition, offset: batch.nextOffset }])
   * }
   */
  async commit(positions: readonly PlayheadPosition[], options: CommitOptions = {}): Promise<{ version: number }> {
    const { expectedVersion, ...wait } = options
    const expected = expectedVersion === 'none' ? -1 : expectedVersion
    if (expected !== undefined && (!Number.isSafeInteger(expected) || expected < -1)) {
      const message = `playhead ${this.name}: found expected version ${expected}, wanted an integer ≥ 0 or "none"`
      throw new PlayheadError('invalidExpectedVersion', message)
    }
    const request = { topic: this.#state.name, name: this.name, positions: [...positions], expectedVersion: expected }
    const { cluster } = this.#state
    const route = cluster.playheads
    if (expected === undefined) {
      // Only the last place counts, so that to commit it twice is to commit it once.
      const { header } = await cluster.call('commitPlayhead', request, { policy: 'reads', route, ...wait })
      return await this.#saw(header)
    }
    try {
      const { header } = await cluster.call('commitPlayhead', request, { policy: 'changes', route, ...wait })
      return await this.#saw(header)
    } catch (error) {
      if (!isIndefinite(error) || !(isPlayheadError(error, 'unavailable') || isPlayheadError(error, 'notLeader')))
        throw error
      return this.#settle(positions, expected, wait, error)
    }
  }

  /** A broker by itself always has the latest. */
  async #saw<T extends { readonly version: number }>(told: T): Promise<T> {
    const { cluster, seenPlayheads } = this.#state
    if (!cluster.hasOthers) return told
    // What was told is true whether or not this can be noted.
    const layout = this.#state.knownLayout ?? (await this.#state.layout().catch(() => undefined))
    const seen = seenPlayheads.get(this.name)
    if (layout === undefined || (seen?.topicId === layout.topicId && seen.version >= told.version)) return told
    seenPlayheads.set(this.name, { topicId: layout.topicId, version: told.version })
    return told
  }

  /** What was seen was of a topic that was deleted since; this name is another one's now. */
  async #isOfAnother(): Promise<boolean> {
    const { seenPlayheads } = this.#state
    const { topicId } = await this.#state.describe()
    if (seenPlayheads.get(this.name)?.topicId === topicId) return false
    seenPlayheads.delete(this.name)
    return true
  }

  /** The answer to a conditional commit was lost: it took effect if the playhead now has the next version, at these very positions. */
  async #settle(
    positions: readonly PlayheadPosition[],
    expected: number,
    wait: WaitOptions,
    lost: PlayheadError,
  ): Promise<{ version: number }> {
    const now = await this.read(wait).catch(() => {
      throw lost
    })
    const isAtOurs = positions.every(({ partition, offset }) =>
      now?.positions.some((position) => position.partition === partition && position.offset === offset),
    )
    if (now?.version === expected + 1 && isAtOurs) return { version: now.version }
    if ((now?.version ?? -1) === expected) throw lost
    const message = `playhead ${this.name}: found version ${now?.version ?? -1}, wanted ${expected}; read it again and decide anew`
    throw new PlayheadError('playheadMoved', message, { found: now?.version ?? -1, expected })
  }
}
