/**
 * ViewDefinition: what a view is made of, as its author writes it, and the check that it can be one. Invariant: a checked definition has
 * every default filled in. Called by view.ts; read by derivation.ts.
 */
import type { Reducer, StreamEvent, Topic } from '../client/index.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { ViewStore } from './view-store.ts'

/** Bytes (UTF-8) of the longest view name. */
export const viewNameBytesMax = 249
/** Bytes (UTF-8) of the longest key of a state; a stream's name always fits. */
export const viewKeyBytesMax = 1_024
/** The highest version number. */
export const viewVersionMax = 0xffff_fffe

const commitEventsDefault = 20_000
const commitMsDefault = 100

/** A topic as a view uses it. */
export type ViewTopic = Pick<Topic, 'name' | 'describe' | 'replay' | 'stream'>

/**
 * What `view()` takes. Of the reducer: `initial` is copied, or called, for each key; `apply` answers the state after an event, depends on
 * nothing but its arguments and does not wait. Each event is applied exactly once to what is kept, and may be applied again to what
 * a crash has lost. States are kept as MessagePack: plain values, arrays, objects, dates, maps and sets.
 */
export interface ViewOptions<State> extends Reducer<State> {
  /** Names the view in its store; 1 to 249 bytes. */
  readonly name: string
  /** An integer from 1 on. Raise it whenever `initial`, `apply`, `key` or `types` change: the new version is derived from history. */
  readonly version: number
  /** The topic whose events it is derived from. */
  readonly topic: ViewTopic
  /** Which state an event belongs to; undefined = none of this view's. Without it all events share the state of key `''`. */
  readonly key?: (event: StreamEvent) => string | undefined
  /** Only events of these types; others are passed over. */
  readonly types?: readonly string[]
  /** Where state and offsets are kept: `lmdbViewStore(directory)` or `memoryViewStore()`. */
  readonly store: ViewStore
  /** Commit after this many events, at the end of a batch. Default 20,000. */
  readonly commitEvents?: number
  /** Commit at the latest this long after the first event that is not committed yet, in ms. Default 100. */
  readonly commitMs?: number
}

export interface ViewDefinition<State> extends ViewOptions<State> {
  readonly makeInitial: () => State
  readonly commitEvents: number
  readonly commitMs: number
}

/** Throws invalidArgument naming what cannot be. */
export function checkDefinition<State>(options: ViewOptions<State>): ViewDefinition<State> {
  const { name, version, initial, commitEvents = commitEventsDefault, commitMs = commitMsDefault } = options
  if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > viewNameBytesMax) {
    throw invalid('view name', JSON.stringify(name), `1 to ${viewNameBytesMax} bytes`)
  }
  if (!isInteger(version, 1, viewVersionMax)) throw invalid(`view ${name}: version`, version, 'an integer from 1 on')
  if (typeof options.apply !== 'function') throw invalid(`view ${name}: apply`, typeof options.apply, 'a function')
  if (options.initial === undefined)
    throw invalid(`view ${name}: initial`, 'undefined', 'the state before the first event')
  if (!isInteger(commitEvents, 1, 10_000_000))
    throw invalid(`view ${name}: commitEvents`, commitEvents, 'an integer from 1 to 10,000,000')
  if (!isInteger(commitMs, 1, 3_600_000))
    throw invalid(`view ${name}: commitMs`, commitMs, 'an integer from 1 to 3,600,000')
  const makeInitial = typeof initial === 'function' ? (initial as () => State) : () => structuredClone(initial)
  return {
    ...options,
    makeInitial,
    commitEvents,
    commitMs,
  }
}

function isInteger(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
}

function invalid(thing: string, found: unknown, wanted: string): PlayheadError {
  return new PlayheadError('invalidArgument', `${thing}: found ${String(found)}, wanted ${wanted}`)
}
