/**
 * View: state derived from a topic by a pure function, under a name and a version. Asks are answered by the version that has caught up
 * last; a new version is derived beside it and takes over in one step. Invariant: one derivation at a time per object; its answers come
 * from committed state only. Called by users; calls derivation.ts to derive and view-tables.ts to answer.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { Derivation } from './derivation.ts'
import type { ViewProgress } from './derivation.ts'
import { checkDefinition } from './view-definition.ts'
import type { ViewDefinition, ViewOptions } from './view-definition.ts'
import { ViewTables, inUse } from './view-tables.ts'

const statesPerPage = 1_000

/** How to derive. */
export interface DeriveOptions {
  /** Ends the derivation after it has committed what it has applied; the next one goes on from there. */
  readonly signal?: AbortSignal
  /** Called after each commit. */
  readonly onProgress?: (progress: ViewProgress) => void
}

/** The version that answers, and how far it has come. */
export interface LiveVersion {
  readonly version: number
  /** Events applied to it since its beginning. */
  readonly events: number
  /** Per partition, the next offset it will apply. */
  readonly offsets: readonly number[]
}

/** Made by {@link view}. */
export class View<State> {
  readonly #definition: ViewDefinition<State>
  readonly #tables: ViewTables
  #deriving = false

  /** Use {@link view}. */
  constructor(options: ViewOptions<State>) {
    this.#definition = checkDefinition(options)
    this.#tables = new ViewTables(options.store, options.name)
  }

  get name(): string {
    return this.#definition.name
  }

  /** The version this object derives; the one that answers is `live()`. */
  get version(): number {
    return this.#definition.version
  }

  /**
   * Applies every event that is committed now and was not applied yet, from the history's beginning or from where an earlier run got to,
   * and makes this version the one that answers. Rejects with `viewFailed` when the function cannot take an event (nothing after the last
   * commit is kept), `viewTopicMismatch`, `viewInUse`, `viewSuperseded`, the client's errors, or the signal's reason.
   * @example
   * await revenue.catchUp({ onProgress: ({ events, eventsPerSecond }) => console.error(events, eventsPerSecond) })
   */
  catchUp(options: DeriveOptions = {}): Promise<ViewProgress> {
    return this.#derive(options, (derivation) => derivation.catchUp(options.signal))
  }

  /**
   * Catches up, then goes on with what comes: an event is in the answers within `commitMs`. Resolves once the signal aborts; rejects as
   * `catchUp` does.
   */
  async follow(options: DeriveOptions = {}): Promise<void> {
    const { signal } = options
    try {
      await this.#derive(options, async (derivation) => {
        await derivation.catchUp(signal)
        await derivation.follow(signal)
      })
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error
    }
  }

  /**
   * The state of `key` in the version that answers; undefined when no event was applied to it, or no version has caught up yet.
   * While a new version is derived this is the older version's state, of the shape that version gave it: `live()` says which.
   */
  get(key = ''): State | undefined {
    const live = this.#tables.live()
    return live === undefined ? undefined : (this.#tables.state(live, key) as State | undefined)
  }

  /**
   * Keys and states of the version that answers, in byte order of the keys. Reads on in steps: states that are committed meanwhile may be
   * seen. Throws `viewSuperseded` when another version takes over before the end: ask again.
   */
  *entries(): Generator<[key: string, state: State], void, undefined> {
    const live = this.#tables.live()
    if (live === undefined) return
    let after: string | undefined
    for (;;) {
      const page = this.#tables.states(live, after, statesPerPage)
      if (this.#tables.live() !== live) throw this.#changedMidway(live)
      for (const [key, state] of page) yield [key, state as State]
      after = page.at(-1)?.[0]
      if (page.length < statesPerPage) return
    }
  }

  /** The version that answers; undefined when none has caught up yet. */
  live(): LiveVersion | undefined {
    const version = this.#tables.live()
    const record = version === undefined ? undefined : this.#tables.record(version)
    if (version === undefined || record === undefined) return undefined
    return { version, events: record.events, offsets: record.offsets }
  }

  async #derive<T>(options: DeriveOptions, run: (derivation: Derivation<State>) => Promise<T>): Promise<T> {
    if (this.#deriving) throw inUse(this.name, this.version)
    this.#deriving = true
    try {
      options.signal?.throwIfAborted()
      const report = options.onProgress ?? (() => {})
      return await run(await Derivation.begin(this.#definition, this.#tables, report, options.signal))
    } finally {
      this.#deriving = false
    }
  }

  #changedMidway(live: number): PlayheadError {
    return new PlayheadError(
      'viewSuperseded',
      `view ${this.name}: found version ${this.#tables.live()} live, wanted version ${live} until the last entry; ask again`,
      { view: this.name, version: live },
    )
  }
}

/**
 * A view: state that a pure function derives from a topic's events. State and offsets are committed together, so that a crash never counts
 * an event twice or not at all; delete the store, or raise the version, and it is derived again from history.
 * Throws `invalidArgument` when the definition cannot be.
 * @example
 * const revenue = view({
 *   name: 'revenue-by-country', version: 1, topic: playhead.topic('carts'), store: lmdbViewStore('views'),
 *   key: (event) => orderLineOf(event).Country, initial: 0, apply: (pence, event) => pence + penceOf(orderLineOf(event)),
 * })
 * await revenue.catchUp()
 * revenue.get('Netherlands')
 */
export function view<State>(options: ViewOptions<State>): View<State> {
  return new View(options)
}
