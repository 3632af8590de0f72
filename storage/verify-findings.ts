/** Findings: what a verification has read and found so far. Made by verify.ts, filled by its parts, each with its own until it is done. */
import { PlayheadError } from '../protocol/errors.ts'

export interface Progress {
  readonly partitions: number
  readonly segments: number
  readonly batches: number
  readonly records: number
  /** Of segment files. */
  readonly bytes: number
}

export interface DamageFound {
  readonly file: string
  /** Byte in the file; 0 when it is the file as a whole. */
  readonly position: number
  /** The first offset that is lost, where it is about records. */
  readonly offset?: number
  readonly reason: string
}

export interface VerifyResult extends Progress {
  /** Empty when all is as it was written. */
  readonly damage: readonly DamageFound[]
  /** What is not damage but worth knowing: torn tails, half-made files, what the next start makes again. */
  readonly notes: readonly string[]
}

/** Findings kept; more are counted. A disk that lost a file system's worth of blocks need not fill the memory too. */
const findingsMax = 10_000

export class Findings {
  readonly #damage: DamageFound[] = []
  readonly #notes: string[] = []
  #more = 0
  partitions = 0
  segments = 0
  batches = 0
  records = 0
  bytes = 0

  damaged(file: string, position: number, reason: string, offset?: number): void {
    if (this.#damage.length >= findingsMax) this.#more++
    else this.#damage.push(offset === undefined ? { file, position, reason } : { file, position, offset, reason })
  }

  note(text: string): void {
    if (this.#notes.length < findingsMax) this.#notes.push(text)
  }

  /** Whatever `run` throws as an expected failure is damage of `file`; answers whether it went through. */
  async guard(file: string, run: () => Promise<void>): Promise<boolean> {
    try {
      await run()
      return true
    } catch (error) {
      if (!(error instanceof PlayheadError)) throw error
      this.damaged(file, 0, error.message)
      return false
    }
  }

  /** Takes in what another one has found. */
  add(other: VerifyResult): void {
    for (const { file, position, reason, offset } of other.damage) this.damaged(file, position, reason, offset)
    for (const note of other.notes) this.note(note)
    this.partitions += other.partitions
    this.segments += other.segments
    this.batches += other.batches
    this.records += other.records
    this.bytes += other.bytes
  }

  get progress(): Progress {
    const { partitions, segments, batches, records, bytes } = this
    return { partitions, segments, batches, records, bytes }
  }

  result(): VerifyResult {
    const notes = this.#more === 0 ? this.#notes : [...this.#notes, `${this.#more} more findings are not listed`]
    return { ...this.progress, damage: this.#damage, notes }
  }
}
