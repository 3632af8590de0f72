/**
 * CsvRecords: rows of a CSV file as events. The first row names the columns; `data` has all of them, in order, each as the string it was.
 * Neighbours: csv-rows.ts parses, import-mapping.ts says which column is what, import-file.ts asks for the records.
 */
import type { RecordInput, RecordInputHeader } from '../protocol/record.ts'
import type { CsvBlock } from './csv-rows.ts'
import { CsvRows } from './csv-rows.ts'
import { RowTimes, shown } from './import-mapping.ts'
import type { ImportMapping } from './import-mapping.ts'
import type { RecordBlock, RecordContext, RecordSource } from './record-source.ts'
import { RowIds } from './row-ids.ts'
import { RowJson } from './row-json.ts'
import { RowProblem } from './row-problem.ts'
import type { StreamKeys } from './stream-keys.ts'

const CARRIAGE_RETURN = '\r'
export class CsvRecords implements RecordSource {
  readonly #mapping: ImportMapping
  readonly #streams: StreamKeys
  readonly #ids: RowIds
  readonly #nowMs: number
  readonly #times = new RowTimes()
  readonly #rows = new CsvRows()
  #columns: Columns | undefined
  #rowCount = 0

  constructor(mapping: ImportMapping, streams: StreamKeys, { fileHash, nowMs }: RecordContext) {
    this.#mapping = mapping
    this.#streams = streams
    this.#ids = new RowIds(fileHash)
    this.#nowMs = nowMs
  }

  get line(): number {
    return this.#rows.line
  }

  push(text: string): RecordBlock {
    return this.#block(this.#rows.push(text))
  }

  end(): RecordBlock {
    const block = this.#block(this.#rows.end())
    if (block.length > 0 || this.#columns !== undefined || block.problem !== undefined) return block
    return {
      ...block,
      problem: new RowProblem('found an empty file, wanted a first row with the names of the columns'),
    }
  }

  #block({ rows, problem, lineOf }: CsvBlock): RecordBlock {
    return { length: rows.length, problem, lineOf, recordAt: (index) => this.#record(rows[index]!) }
  }

  #record(fields: string[]): RecordInput | undefined {
    const columns = this.#columns
    if (columns === undefined) {
      if (isBlank(fields)) return undefined
      this.#columns = new Columns(fields, this.#mapping)
      return undefined
    }
    if (columns.endInCarriageReturn) stripCarriageReturn(fields)
    if (fields.length !== columns.names.length) {
      if (isBlank(fields)) return undefined
      throw new RowProblem(`found ${fields.length} columns, wanted ${columns.names.length}, as the first row has`)
    }
    const key = this.#streams.keyOf(fields[columns.stream]!)
    const type = columns.type < 0 ? columns.literalType : columns.typeOf(fields[columns.type]!)
    const timestamp =
      columns.time < 0 ? this.#nowMs : this.#times.timeOf(fields[columns.time]!, columns.names[columns.time]!)
    // Without a time of its own the row must still get the same id whenever it is imported.
    const id = this.#ids.idOf(this.#rowCount, columns.time < 0 ? 0 : timestamp)
    const value = columns.json.encode(fields)
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
  #types = new Map<string, RecordInputHeader>()

  constructor(fields: readonly string[], mapping: ImportMapping) {
    const names = [...fields]
    this.endInCarriageReturn = names.at(-1)!.endsWith(CARRIAGE_RETURN)
    if (this.endInCarriageReturn) names[names.length - 1] = names.at(-1)!.slice(0, -1)
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

  typeOf(type: string): RecordInputHeader {
    const known = this.#types.get(type)
    if (known !== undefined) return known
    const bytes = Buffer.byteLength(type)
    if (bytes === 0 || bytes > 256) {
      throw new RowProblem(`column ${this.names[this.type]}: found a type of ${bytes} bytes, wanted 1 to 256`)
    }
    if (this.#types.size >= 1_000) this.#types = new Map()
    const header = { key: 'type', value: Buffer.from(type) }
    this.#types.set(header.value.toString(), header)
    return header
  }

  #find(name: string, flag: string): number {
    const index = this.names.indexOf(name)
    if (index >= 0) return index
    throw new RowProblem(`found columns ${this.names.map(shown).join(', ')}, wanted one named ${shown(name)} (${flag})`)
  }
}

function isBlank(fields: readonly string[]): boolean {
  return fields.length === 1 && (fields[0] === '' || fields[0] === CARRIAGE_RETURN)
}

function stripCarriageReturn(fields: string[]): void {
  const last = fields.at(-1)!
  if (last.endsWith(CARRIAGE_RETURN)) fields[fields.length - 1] = last.slice(0, -1)
}
