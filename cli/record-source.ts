/**
 * RecordSource: bytes of a file in, records of events out. Two of them: csv-records.ts and ndjson-records.ts. Both give the same records
 * for the same content whatever the cuts between the pieces, which is what makes an import resumable.
 */
import type { RecordInput } from '../protocol/record.ts'

export interface RecordSource {
  /** Line of the file, from 1, of what `next` looked at last. */
  readonly line: number
  /** Takes more of the file. The bytes are the source's from now on: it may change them. */
  push(bytes: Buffer): void
  /** Nothing follows. */
  end(): void
  /** The next record; undefined = none before more is pushed, or all have been given out. Throws RowProblem, and then the source is done. */
  next(): RecordInput | undefined
}

/** What every record source is made of. */
export interface RecordContext {
  /** Hash of the file's content. */
  readonly fileHash: Buffer
  /** Time of events without one of their own, ms since the epoch. */
  readonly nowMs: number
}
