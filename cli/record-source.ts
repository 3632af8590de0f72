/**
 * RecordSource: text of a file in, records of events out. Two of them: csv-records.ts and ndjson-records.ts. Both give the same records
 * for the same content whatever the cuts between the pieces of text, which is what makes an import resumable.
 */
import type { RecordInput } from '../protocol/record.ts'
import type { RowProblem } from './row-problem.ts'

/** The rows that one piece of text completed. */
export interface RecordBlock {
  readonly length: number
  /** Set when the row after the last one is broken. */
  readonly problem?: RowProblem | undefined
  /** The record of row `index`; to be asked for in order, once. undefined for a blank line or the header. Throws RowProblem. */
  readonly recordAt: (index: number) => RecordInput | undefined
  /** Line of the file, from 1, on which row `index` begins; `length` is that of the row which is broken. */
  readonly lineOf: (index: number) => number
}

export interface RecordSource {
  /** Line on which the text that is not given out yet begins. */
  readonly line: number
  push(text: string): RecordBlock
  /** What is left when the file has ended. */
  end(): RecordBlock
}

/** What every record source is made of. */
export interface RecordContext {
  /** Hash of the file's content. */
  readonly fileHash: Buffer
  /** Time of events without one of their own, ms since the epoch. */
  readonly nowMs: number
}
