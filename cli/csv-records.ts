/**
 * CsvRecords: rows of a CSV file as events. The first row names the columns; `data` has all of them, in order, each as the string it was.
 * Neighbours: csv-rows.ts parses, import-mapping.ts says which column is what, import-file.ts asks for the records.
 */
import type { RecordInput, RecordInputHeader } from '../protocol/record.ts'
import { ByteKeys } from './byte-keys.ts'
import type { CsvRow } from './csv-row.ts'
import { CsvRows } from './csv-rows.ts'
import { RowTimes, shown } from './import-mapping.ts'
import type { ImportMapping } from './import-mapping.ts'
import type { RecordContext, RecordSource } from './record-source.ts'
import { RowIds } from './row-ids.ts'
import { RowJson } from './row-json.ts'
import { RowProblem } from './row-problem.ts'
import type { StreamKeys } from './stream-keys.ts'

const CARRIAGE_RETURN = '\r'
const typeBytesMax = 256
const typesKeptMax = 1_000

export class CsvRecords implements RecordSource {
  readonly #mapping: ImportMapping
  readonly #streams: StreamKeys
  readonly #ids: RowIds
  readonly #nowMs: number
  readonly #times = new RowTimes()
  readonly #rows = new CsvRows()
  #columns: Columns | undefined
  #rowCount = 0
  #hasEnded = false

  constructor(mapping: ImportMapping, streams: StreamKeys, { fileHash, nowMs }: RecordContext) {
    this.#mapping = mapping
    this.#streams = streams
    this.#ids = new RowIds(fileHash)
    this.#nowMs = nowMs
  }

  get line(): number {
    return this.#rows.line
  }

  push(bytes: Buffer): void {
    this.#rows.push(bytes)
  }

  end(): void {
    this.#rows.end()
    this.#hasEnded = true
  }

  next(): RecordInput | undefined {
    while (this.#rows.next()) {
      const record = this.#record(this.#rows.row)
      if (record !== undefined) return record
    }
    if (this.#hasEnded && this.#columns === undefined) {
      throw new RowProblem('found an empty file, wanted a first row with the names of the columns')
    }
    return undefined
  }

  /** undefined for the header and for blank lines. */
  #record(row: CsvRow): RecordInput | undefined {
    const columns = this.#columns
    if (columns === undefined) {
      if (!isBlank(row)) this.#columns = new Columns(row, this.#mapping)
      return undefined
    }
    if (columns.endInCarriageReturn) row.dropCarriageReturn()
    if (row.count !== columns.names.length) {
      if (isBlank(row)) return undefined
      throw new RowProblem(`found ${row.count} columns, wanted ${columns.names.length}, as the first row has`)
    }
    const { bytes, starts, ends } = row
    const { stream, time } = columns
    const key = this.#streams.keyOfBytes(bytes, starts[stream]!, ends[stream]!)
    const type =
      columns.type < 0 ? columns.literalType : columns.typeOf(bytes, starts[columns.type]!, ends[columns.type]!)
    const timestamp =
      time < 0 ? this.#nowMs : this.#times.timeOfBytes(bytes, starts[time]!, ends[time]!, columns.names[time]!)
    // Without a time of its own the row must still get the same id whenever it is imported.
    const id = this.#ids.idOf(this.#rowCount, time < 0 ? 0 : timestamp)
    const value = columns.json.encode(row)
    this.#rowCount++
    return { key, value, timestamp, headers: [type, { key: 'id', value: id }] }
  }
}

/** The columns of one file: where the mapped ones are. */
class Columns {
  readonly names: readonly string[]
  readonly endInCarriageReturn: boolean
  readonly stream: number
  /** -1 = every row has the same type. */
  readonly type: number
  readonly literalType: RecordInputHeader
  /** -1 = no column has the time. */
  readonly time: number
  readonly json: RowJson
  #types = new ByteKeys()
  #typeHeaders: RecordInputHeader[] = []

  constructor(header: CsvRow, mapping: ImportMapping) {
    this.endInCarriageReturn = header.endsInCarriageReturn
    if (this.endInCarriageReturn) header.dropCarriageReturn()
    const names = header.texts()
    this.names = names
    const twice = names.find((name, index) => names.indexOf(name) !== index)
    if (twice !== undefined) throw new RowProblem(`found two columns named ${shown(twice)}, wanted each name once`)
    const literal = mapping.type.startsWith('=')
    this.stream = this.#find(mapping.stream, '--stream')
    this.type = literal ? -1 : this.#find(mapping.type, '--type')
    this.literalType = { key: 'type', value: Buffer.from(mapping.type.slice(1)) }
    this.time = mapping.time === undefined ? -1 : this.#find(mapping.time, '--time')
    const numbers = new Set(mapping.numbers.map((name) => this.#find(name, '--number')))
    this.json = new RowJson(
      names,
      names.map((_, index) => numbers.has(index)),
    )
  }

  typeOf(bytes: Buffer, from: number, to: number): RecordInputHeader {
    const known = this.#types.find(bytes, from, to)
    if (known >= 0) return this.#typeHeaders[known]!
    if (from === to || to - from > typeBytesMax) {
      throw new RowProblem(
        `column ${this.names[this.type]}: found a type of ${to - from} bytes, wanted 1 to ${typeBytesMax}`,
      )
    }
    if (this.#types.count >= typesKeptMax) {
      this.#types = new ByteKeys()
      this.#typeHeaders = []
    }
    const header = { key: 'type', value: Buffer.from(bytes.subarray(from, to)) }
    this.#typeHeaders[this.#types.add(bytes, from, to)] = header
    return header
  }

  #find(name: string, flag: string): number {
    const index = this.names.indexOf(name)
    if (index >= 0) return index
    throw new RowProblem(`found columns ${this.names.map(shown).join(', ')}, wanted one named ${shown(name)} (${flag})`)
  }
}

function isBlank(row: CsvRow): boolean {
  return row.count === 1 && (row.isEmpty(0) || row.text(0) === CARRIAGE_RETURN)
}
