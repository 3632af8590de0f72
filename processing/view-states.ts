/**
 * ViewStates: the states a derivation works on: those changed since the last commit, and lately used ones, so that a hot key is not decoded
 * again for each of its events. Invariant: at most `cachedStatesMax` unchanged states are held; changed ones go with every commit.
 * Called by derivation.ts, reads view-tables.ts.
 */
import type { ViewTables } from './view-tables.ts'

/** Decoded states kept although they are committed. */
const cachedStatesMax = 50_000

export class ViewStates<State> {
  readonly #tables: ViewTables
  readonly #version: number
  readonly #initial: () => State
  #changed = new Map<string, State>()
  /** Two generations: what was used since the last turn-over, and what was used before it. */
  #recent = new Map<string, State>()
  #older = new Map<string, State>()

  constructor(tables: ViewTables, version: number, initial: () => State) {
    this.#tables = tables
    this.#version = version
    this.#initial = initial
  }

  /** Since the last `committed`, by key. */
  get changed(): ReadonlyMap<string, State> {
    return this.#changed
  }

  get(key: string): State {
    const held = this.#changed.get(key) ?? this.#recent.get(key) ?? this.#older.get(key)
    if (held !== undefined) return held
    return (this.#tables.state(this.#version, key) as State | undefined) ?? this.#initial()
  }

  set(key: string, state: State): void {
    this.#changed.set(key, state)
  }

  /** What was changed is in the store now. */
  committed(): void {
    for (const [key, state] of this.#changed) this.#recent.set(key, state)
    this.#changed = new Map()
    if (this.#recent.size < cachedStatesMax / 2) return
    this.#older = this.#recent
    this.#recent = new Map()
  }
}
