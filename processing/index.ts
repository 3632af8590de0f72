/**
 * playhead/processing: what users import to derive state from history. Every public name is listed here, one by one.
 * Neighbours: client/index.ts gives the topics; view.ts is where to begin reading.
 */
export { lmdbViewStore } from './lmdb-view-store.ts'
export { memoryViewStore } from './memory-view-store.ts'
export { view } from './view.ts'
export type { DeriveOptions, LiveVersion, View } from './view.ts'
export type { ViewOptions, ViewTopic } from './view-definition.ts'
export type { ViewProgress } from './derivation.ts'
export type { ViewStore, ViewStoreEntry, ViewTransaction } from './view-store.ts'
