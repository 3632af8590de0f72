/**
 * StreamKeys: the stream of each row: checked when it is first seen, counted once, and kept as a record's key as long as there are not too
 * many. Invariant: holds a copy of each name, never the bytes it was cut from. Called by csv-records.ts and ndjson-records.ts.
 */
import { checkStream } from '../protocol/names.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { ByteKeys } from './byte-keys.ts'
import type { ImportMapping } from './import-mapping.ts'
import { RowProblem } from './row-problem.ts'

/** Keys made once and used for every row; for further streams each row gets its own. */
const keysKeptMax = 100_000

export class StreamKeys {
  readonly #column: string
  readonly #elseStream: Buffer | undefined
  readonly #seen = new ByteKeys()
  readonly #keys: Buffer[] = []

  constructor({ stream, elseStream }: Pick<ImportMapping, 'stream' | 'elseStream'>) {
    this.#column = stream
    this.#elseStream = elseStream === undefined ? undefined : Buffer.from(elseStream)
  }

  get count(): number {
    return this.#seen.count
  }

  /** The stream that the value of the stream column names. Throws RowProblem. */
  keyOf(value: string): Buffer {
    // As bytes, half a surrogate pair would be U+FFFD, and another stream's name.
    if (!value.isWellFormed()) this.#check(value)
    const bytes = Buffer.from(value)
    return this.keyOfBytes(bytes, 0, bytes.length)
  }

  /** The same for a value that is bytes `from` … `to`, which are UTF-8. */
  keyOfBytes(bytes: Buffer, from: number, to: number): Buffer {
    if (from === to) return this.#keyWithoutName()
    const id = this.#seen.find(bytes, from, to)
    if (id >= 0 && id < keysKeptMax) return this.#keys[id]!
    if (id < 0) {
      this.#check(bytes.toString('utf8', from, to))
      this.#seen.add(bytes, from, to)
    }
    const key = Buffer.from(bytes.subarray(from, to))
    if (id < 0 && this.#keys.length < keysKeptMax) this.#keys.push(key)
    return key
  }

  #keyWithoutName(): Buffer {
    const name = this.#elseStream
    if (name !== undefined) return this.keyOfBytes(name, 0, name.length)
    throw new RowProblem(
      `column ${this.#column}: found an empty stream name, wanted one; --else-stream NAME takes such rows`,
    )
  }

  #check(name: string): void {
    try {
      checkStream(name)
    } catch (error) {
      if (isPlayheadError(error)) throw new RowProblem(`column ${this.#column}: ${error.message}`)
      throw error
    }
  }
}
