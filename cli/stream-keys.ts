/**
 * StreamKeys: the stream of each row: checked when it is first seen, counted once, and kept as bytes as long as there are not too many.
 * Invariant: holds a copy of each name, never the text it was cut from. Called by csv-records.ts and ndjson-records.ts.
 */
import { checkStream } from '../protocol/names.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { ImportMapping } from './import-mapping.ts'
import { RowProblem } from './row-problem.ts'

/** Names kept as bytes, so that writing one again costs no conversion; further ones are kept as text only. */
const bytesKeptMax = 100_000

export class StreamKeys {
  readonly #column: string
  readonly #elseStream: string | undefined
  readonly #seen = new Map<string, Buffer | undefined>()

  constructor({ stream, elseStream }: Pick<ImportMapping, 'stream' | 'elseStream'>) {
    this.#column = stream
    this.#elseStream = elseStream
  }

  get count(): number {
    return this.#seen.size
  }

  /** The stream that the value of the stream column names. */
  keyOf(value: string): Buffer | string {
    const key = value === '' ? this.#elseStream : value
    if (key === undefined) {
      throw new RowProblem(
        `column ${this.#column}: found an empty stream name, wanted one; --else-stream NAME takes such rows`,
      )
    }
    const bytes = this.#seen.get(key)
    if (bytes !== undefined) return bytes
    if (!this.#seen.has(key)) this.#add(key)
    return key
  }

  #add(key: string): void {
    try {
      checkStream(key)
    } catch (error) {
      if (isPlayheadError(error)) throw new RowProblem(`column ${this.#column}: ${error.message}`)
      throw error
    }
    // A substring keeps the whole text it was cut from alive; a copy by way of bytes does not.
    const bytes = Buffer.from(key)
    this.#seen.set(bytes.toString(), this.#seen.size < bytesKeptMax ? bytes : undefined)
  }
}
