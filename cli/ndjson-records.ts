/**
 * NdjsonRecords: lines of JSON objects as events; the top-level members are the columns. `data` is the line as it was, digit for digit,
 * unless --number turns a text of it into a number. Neighbours: import-mapping.ts says which member is what, import-file.ts asks for the records.
 */
import { MiB } from '../protocol/limits.ts'
import type { RecordInput } from '../protocol/record.ts'
import { RowTimes, numberJson, shown } from './import-mapping.ts'
import type { ImportMapping } from './import-mapping.ts'
import type { RecordContext, RecordSource } from './record-source.ts'
import { RowIds } from './row-ids.ts'
import { RowProblem } from './row-problem.ts'
import type { StreamKeys } from './stream-keys.ts'
import { Utf8Lines, notUtf8 } from './utf8-lines.ts'

const NEWLINE = 0x0a
const lineBytesMax = 64 * MiB

export class NdjsonRecords implements RecordSource {
  readonly #mapping: ImportMapping
  readonly #streams: StreamKeys
  readonly #ids: RowIds
  readonly #nowMs: number
  readonly #times = new RowTimes()
  readonly #lines = new Utf8Lines()
  #line = 1
  #nextLine = 1
  #rowCount = 0

  constructor(mapping: ImportMapping, streams: StreamKeys, { fileHash, nowMs }: RecordContext) {
    this.#mapping = mapping
    this.#streams = streams
    this.#ids = new RowIds(fileHash)
    this.#nowMs = nowMs
  }

  get line(): number {
    return this.#line
  }

  push(bytes: Buffer): void {
    this.#lines.push(bytes)
  }

  end(): void {
    this.#lines.finish()
  }

  next(): RecordInput | undefined {
    const lines = this.#lines
    while (lines.at < lines.end) {
      const newline = lines.bytes.indexOf(NEWLINE, lines.at)
      const end = newline < 0 ? lines.end : newline
      const text = lines.bytes.toString('utf8', lines.at, end).trim()
      lines.at = Math.min(end + 1, lines.end)
      this.#line = this.#nextLine++
      if (text !== '') return this.#record(text)
    }
    this.#line = this.#nextLine
    if (lines.isBroken) throw notUtf8()
    if (lines.restBytes <= lineBytesMax) return undefined
    throw new RowProblem(
      `found no end of the line within ${lineBytesMax / MiB} Mi bytes, wanted one JSON object a line`,
    )
  }

  #record(line: string): RecordInput {
    const row = parseObject(line)
    const { stream, type, time, numbers } = this.#mapping
    const key = this.#streams.keyOf(textOf(row, stream, '--stream'))
    const timestamp = time === undefined ? this.#nowMs : this.#times.timeOf(textOf(row, time, '--time'), time)
    const id = this.#ids.idOf(this.#rowCount, time === undefined ? 0 : timestamp)
    const headers = [
      { key: 'type', value: this.#typeOf(row, type) },
      { key: 'id', value: id },
    ]
    const value = numbers.some((name) => typeof memberOf(row, name, '--number') !== 'number')
      ? withNumbers(row, numbers)
      : line
    this.#rowCount++
    return { key, value, timestamp, headers }
  }

  #typeOf(row: JsonObject, type: string): string {
    if (type.startsWith('=')) return type.slice(1)
    const text = textOf(row, type, '--type')
    const bytes = Buffer.byteLength(text)
    if (bytes > 0 && bytes <= 256) return text
    throw new RowProblem(`member ${type}: found a type of ${bytes} bytes, wanted 1 to 256`)
  }
}

type JsonObject = Record<string, unknown>

function parseObject(line: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new RowProblem(
      `found no JSON (${error instanceof Error ? error.message : String(error)}), wanted one object a line`,
    )
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw new RowProblem(`found ${shown(line)}, wanted a JSON object`)
}

function memberOf(row: JsonObject, name: string, flag: string): unknown {
  if (Object.hasOwn(row, name)) return row[name]
  throw new RowProblem(
    `found members ${Object.keys(row).map(shown).join(', ')}, wanted one named ${shown(name)} (${flag})`,
  )
}

/** A text or number as text; null is empty. */
function textOf(row: JsonObject, name: string, flag: string): string {
  const value = memberOf(row, name, flag)
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  if (value === null) return ''
  throw new RowProblem(`member ${name}: found ${shown(JSON.stringify(value))}, wanted a text or a number (${flag})`)
}

function withNumbers(row: JsonObject, numbers: readonly string[]): string {
  const members = Object.entries(row).map(([name, value]) => {
    const json = numbers.includes(name) ? numberJson(textOf(row, name, '--number'), name) : JSON.stringify(value)
    return `${JSON.stringify(name)}:${json}`
  })
  return `{${members.join(',')}}`
}
