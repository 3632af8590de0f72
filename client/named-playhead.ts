/** NamedPlayhead: where a named reader of a topic stands, kept by the broker. */
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { checkPlayheadName } from '../protocol/names.ts'
import type { PlayheadPosition } from '../protocol/playhead.ts'
import { isIndefinite } from './retry.ts'
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
   * Where it stands; undefined if nothing was ever committed under this name.
   *
   * @throws PlayheadError `unknownTopic`, `unavailable`
   */
  async read(options: WaitOptions = {}): Promise<PlayheadState | undefined> {
    const request = { topic: this.#state.name, name: this.name }
    const { header } = await this.#state.cluster.call('readPlayhead', request, {
      policy: 'reads',
      route: this.#state.cluster.playheads,
      ...options,
    })
    if (!header.known) return undefined
    const { version, positions, committedAtMs } = header
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
      return header
    }
    try {
      const { header } = await cluster.call('commitPlayhead', request, { policy: 'changes', route, ...wait })
      return header
    } catch (error) {
      if (!isIndefinite(error) || !(isPlayheadError(error, 'unavailable') || isPlayheadError(error, 'notLeader')))
        throw error
      return this.#settle(positions, expected, wait, error)
    }
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
