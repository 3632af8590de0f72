/**
 * RowJson: rows as the bytes of JSON objects, in slabs of memory, written straight from the bytes of the file: an import spends more on
 * this than on anything else of its own. Invariant: the bytes are what JSON.stringify of the row would give, apart from number columns,
 * which keep their digits. Called by csv-records.ts.
 */
import { KiB } from '../protocol/limits.ts'
import type { CsvRow } from './csv-row.ts'
import { isPlainNumber, numberJson } from './import-mapping.ts'

const slabBytes = 256 * KiB
/** A byte takes at most this many as JSON: \u001f. */
const jsonBytesMax = 6
/** Of a number that is written otherwise than it stands in the file, such as 0.5 for .5 or null for nothing. */
const numberBytesMax = 32
/** From here on a call into the runtime copies faster than a loop. */
const LONG_COPY = 96

/** How JSON writes a byte; undefined = as it is. */
const escaped: readonly (Buffer | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  if (byte > 0x7f) return undefined
  const json = JSON.stringify(String.fromCharCode(byte)).slice(1, -1)
  return json.length === 1 ? undefined : Buffer.from(json)
})

export class RowJson {
  readonly #names: readonly string[]
  readonly #isNumber: readonly boolean[]
  /** What stands before each value, e.g. `{"name":`, with the quotes of the value before it and of its own, and what stands at the end. */
  readonly #fixed: Buffer
  /** Where in `#fixed` what stands before value `index` begins; one more for the end. */
  readonly #fixedStarts: Int32Array
  readonly #extraBytesMax: number
  #slab = Buffer.allocUnsafeSlow(slabBytes)
  #at = 0

  constructor(names: readonly string[], isNumber: readonly boolean[]) {
    this.#names = names
    this.#isNumber = isNumber
    const quote = (index: number) => (index < 0 || isNumber[index] ? '' : '"')
    const fixed = names.map((name, index) =>
      Buffer.from(`${quote(index - 1)}${index === 0 ? '{' : ','}${JSON.stringify(name)}:${quote(index)}`),
    )
    fixed.push(Buffer.from(`${quote(names.length - 1)}}`))
    this.#fixed = Buffer.concat(fixed)
    this.#fixedStarts = new Int32Array(fixed.length + 1)
    for (const [index, { length }] of fixed.entries()) this.#fixedStarts[index + 1] = this.#fixedStarts[index]! + length
    this.#extraBytesMax = this.#fixed.length + numberBytesMax * isNumber.filter(Boolean).length
  }

  /** One field for each name. The bytes are the caller's; they share memory with those of other rows. Throws RowProblem. */
  encode(row: CsvRow): Buffer {
    const { bytes, starts, ends, escapes, count } = row
    const start = this.#room(row)
    const slab = this.#slab
    const fixed = this.#fixed
    const fixedStarts = this.#fixedStarts
    let at = start
    for (let index = 0; index < count; index++) {
      at = copy(fixed, fixedStarts[index]!, fixedStarts[index + 1]!, slab, at)
      const from = starts[index]!
      const to = ends[index]!
      if (this.#isNumber[index] && !isPlainNumber(bytes, from, to)) {
        at += slab.write(numberJson(row.text(index), this.#names[index]!), at, 'latin1')
      } else if (escapes[index] === 0) {
        at = copy(bytes, from, to, slab, at)
      } else {
        at = copyEscaped(bytes, from, to, slab, at)
      }
    }
    at = copy(fixed, fixedStarts[count]!, fixedStarts[count + 1]!, slab, at)
    this.#at = at
    return slab.subarray(start, at)
  }

  /** Answers where in the slab there is room for the row. */
  #room({ starts, ends, count }: CsvRow): number {
    const bytesMax = this.#extraBytesMax + jsonBytesMax * (ends[count - 1]! - starts[0]!)
    if (this.#at + bytesMax > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytesMax))
      this.#at = 0
    }
    return this.#at
  }
}

/** Answers the position behind what it has written. */
function copy(bytes: Buffer, from: number, to: number, slab: Buffer, at: number): number {
  if (to - from >= LONG_COPY) return at + bytes.copy(slab, at, from, to)
  for (let index = from; index < to; index++) slab[at++] = bytes[index]!
  return at
}

function copyEscaped(bytes: Buffer, from: number, to: number, slab: Buffer, at: number): number {
  for (let index = from; index < to; index++) {
    const byte = bytes[index]!
    const json = escaped[byte]
    if (json === undefined) slab[at++] = byte
    else at = copy(json, 0, json.length, slab, at)
  }
  return at
}
