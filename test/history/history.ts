/**
 * The history of a run as its clients saw it: one entry per operation, with the time before its call and the time after its answer.
 * Values are unique over the whole history, so an offset tells which append an entry came from.
 * Neighbours: test/sim writes histories, history-checker.ts judges them.
 */
export interface Span {
  /** One client that reads its own writes. */
  readonly session: string
  /** Any clock, the same for all sessions. */
  readonly invokedAt: number
  /** Infinity when no answer came. */
  readonly completedAt: number
}

export interface AppendedEvent {
  /** null = no stream. */
  readonly stream: string | null
  readonly value: string
}

export interface Condition {
  readonly stream: string
  /** -1 = no event yet. */
  readonly version: number
}

export interface Conflict {
  readonly stream: string
  readonly expected: number
  readonly found: number
}

export type AppendOutcome =
  /** `baseOffset` and `versions` are absent when the client was not told. */
  | { readonly kind: 'written'; readonly baseOffset?: number; readonly versions?: readonly number[] }
  /** Surely not written, now or later. */
  | { readonly kind: 'refused'; readonly conflicts: readonly Conflict[] }
  /** It may have been written, or may yet be. */
  | { readonly kind: 'unknown' }

/** All or nothing: the events stand at consecutive offsets, or none does. */
export interface AppendOperation extends Span {
  readonly kind: 'append'
  readonly partition: number
  /** Producer id and epoch; with `sequence` the name of the append, under which retries are recognised. */
  readonly producer: string
  readonly sequence: number
  readonly events: readonly AppendedEvent[]
  readonly expected: readonly Condition[]
  readonly outcome: AppendOutcome
}

export interface LogEntry extends AppendedEvent {
  readonly offset: number
}

/** Records of a partition from `fromOffset` on, in the order in which they came. */
export interface ReadOperation extends Span {
  readonly kind: 'read'
  readonly partition: number
  readonly fromOffset: number
  readonly entries: readonly LogEntry[]
  /** The high watermark that the read was answered under. */
  readonly highWatermark: number
  /** The read promises to see everything acknowledged before it began, by anybody. */
  readonly isLinearizable: boolean
}

/** Events of one stream from `fromVersion` to its end at that moment. */
export interface StreamReadOperation extends Span {
  readonly kind: 'readStream'
  readonly partition: number
  readonly stream: string
  readonly fromVersion: number
  readonly entries: readonly { readonly offset: number; readonly version: number; readonly value: string }[]
  /** Damage came before the end. */
  readonly isEndedByDamage?: boolean
  /** As of ReadOperation; it does when absent. Otherwise it promises to see what its own session saw or wrote. */
  readonly isLinearizable?: boolean
}

/** The ends of a partition. */
export interface TailOperation extends Span {
  readonly kind: 'tail'
  readonly partition: number
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly isLinearizable: boolean
}

/** All that is in a partition once everything has come to rest. Taken last. */
export interface Dump {
  readonly kind: 'dump'
  readonly partition: number
  readonly entries: readonly (LogEntry & { readonly epoch?: number })[]
  /** Ranges of offsets that the broker reports as damaged, which the harness knows to be: `until` is exclusive. */
  readonly damaged: readonly { readonly from: number; readonly until: number }[]
  /** Versions and producers were lost with the records: what depends on them is not judged. */
  readonly isDerivedLost?: boolean
}

export type Operation = AppendOperation | ReadOperation | StreamReadOperation | TailOperation | Dump

export type AnomalyKind =
  | 'abortedRead' // the value of a refused append is there
  | 'brokenCondition' // an append was written although its expected version was not the stream's
  | 'disagreeingRetry' // one producer and sequence, two offsets
  | 'duplicate' // one value at two offsets
  | 'epochRegression' // a leader epoch below the one before it
  | 'falseConflict' // refused for a version that was certainly current all the time
  | 'garbage' // a value that nobody wrote
  | 'highWatermarkRegression' // lower than an answer before the call
  | 'inconsistentOffset' // two values at one offset
  | 'logStartRegression' // lower than an answer before the call
  | 'lostWrite' // acknowledged, and not there
  | 'nonmonotonicRead' // entries of one read that go back
  | 'nonmonotonicSend' // an offset below that of an append which was acknowledged before this one began
  | 'phantomConflict' // refused with a version that the stream never had, or not at that time
  | 'reorderedProducer' // a later sequence of one producer below an earlier one
  | 'sessionRegression' // a session that does not see what it saw or wrote itself
  | 'skippedRead' // entries of one read with offsets left out
  | 'staleRead' // does not see what was acknowledged before it began
  | 'tornAppend' // a part of an append is there, or not side by side
  | 'uncommittedRead' // an entry at or past the high watermark it was answered under
  | 'unseen' // acknowledged, and its partition was never dumped
  | 'vanishedRead' // somebody read it, and it is not there at the end
  | 'versionGap' // versions of a stream that are not 0, 1, 2 … in offset order

export interface Anomaly {
  readonly kind: AnomalyKind
  readonly partition: number
  readonly message: string
}
