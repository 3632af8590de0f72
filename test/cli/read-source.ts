/** What a record source makes of a file that comes in pieces: its records, or the error that names the line. */
import type { RecordSource } from '../../cli/record-source.ts'
import { RowProblem } from '../../cli/row-problem.ts'
import type { RecordInput } from '../../protocol/record.ts'

/** The bytes of `text` in pieces of `pieceBytes`, each with memory of its own. */
export function piecesOf(text: string | Buffer, pieceBytes: number): Buffer[] {
  const bytes = Buffer.from(text)
  return Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, place) =>
    Buffer.from(bytes.subarray(place * pieceBytes, (place + 1) * pieceBytes)),
  )
}

export function readSource(source: RecordSource, pieces: Iterable<Buffer>): RecordInput[] {
  const records: RecordInput[] = []
  const take = (): void => {
    try {
      for (let record = source.next(); record !== undefined; record = source.next()) records.push(record)
    } catch (error) {
      if (error instanceof RowProblem) throw new Error(`line ${source.line}: ${error.message}`, { cause: error })
      throw error
    }
  }
  for (const piece of pieces) {
    source.push(piece)
    take()
  }
  source.end()
  take()
  return records
}
